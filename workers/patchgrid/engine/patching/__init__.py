"""Exact patching of nodes and edges."""
