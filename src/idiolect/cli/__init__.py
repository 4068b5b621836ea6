"""Floor 7: one file a command; parse, call, print."""
