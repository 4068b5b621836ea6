"""Floor 4: loss, step, loop, checkpoints and resuming."""
