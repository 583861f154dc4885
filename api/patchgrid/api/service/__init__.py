"""Shared by all requests: settings, database, tokens, limits, live jobs."""
