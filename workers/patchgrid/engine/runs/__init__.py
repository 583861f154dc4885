"""Forward passes: batches, activations, shared prefixes, metrics."""
