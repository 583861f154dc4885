"""Jobs: stored, listed, counted, deleted."""
