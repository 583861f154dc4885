"""A worker process and its supervisor."""
