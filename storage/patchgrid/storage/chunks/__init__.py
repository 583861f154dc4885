"""A chunk's data: pairs, scores, exact effects, sums, checksums."""
