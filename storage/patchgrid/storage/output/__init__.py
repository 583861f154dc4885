"""Results as documents, row files and SQL."""
