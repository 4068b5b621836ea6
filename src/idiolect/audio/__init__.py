"""Floor 1: audio files to waveforms, waveforms to filter banks, and what is wrong with a clip."""
