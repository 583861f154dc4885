"""Types shared by all parts; no torch, no SQL."""
