"""What one chunk reads and stores: pairs, scores, exact effects, sums, checksums."""
