"""The nouns that every part shares; no torch, no SQL."""
