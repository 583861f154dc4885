"""One chunk, from its lease to its stored results."""
