"""How well scores agree with exact effects: over cells, and over component means."""
