"""Pictures of a job's results, from a database or a server."""
