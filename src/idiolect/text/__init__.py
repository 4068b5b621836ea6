"""Floor 1: raw text to token ids, the same way in every stage."""
