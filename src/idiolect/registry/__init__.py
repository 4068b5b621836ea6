"""Floor 3: installed models, what they are and which files belong together."""
