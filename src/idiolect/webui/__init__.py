"""Floor 6: the page; one file a tab, no computation."""
