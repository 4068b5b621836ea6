"""Floor 0: errors, units, files, the golden rule; imports nothing of ours and no torch."""
