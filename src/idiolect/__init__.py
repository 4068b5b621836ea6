"""Teach IndexTTS-2 a new language, and leave the base exactly as it was."""
