"""Floor 2: the networks and the files of their weights."""
