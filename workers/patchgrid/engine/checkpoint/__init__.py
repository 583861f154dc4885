"""Model files: weights, adapters, hashes; what was remembered of them."""
