"""What requests share: settings, database, tokens, limits, live jobs."""
