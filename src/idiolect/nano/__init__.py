"""The recipe of the pocket base: a corpus, every network from zero, and what judges them."""
