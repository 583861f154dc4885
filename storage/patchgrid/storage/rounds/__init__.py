"""Rounds of exact patching after a job's scores: requests, what each round patches, certificates."""
