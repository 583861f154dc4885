"""Prompt pairs for the demo model and for GPT-2."""
