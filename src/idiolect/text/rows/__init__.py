"""One module per language: its words, and the few rules that its numbers follow."""
