"""Floor 3: recordings to manifests, pairs, features and batches."""
