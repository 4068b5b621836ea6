"""Floor 5: what a model can do, measured by what it says."""
