"""Results of single pairs."""
