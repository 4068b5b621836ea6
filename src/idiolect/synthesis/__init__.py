"""Floor 4: text and a prompt to speech."""
