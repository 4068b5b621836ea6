"""Floor 5: what the page keeps and runs: voices, history, batches, jobs. No web framework."""
