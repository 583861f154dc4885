"""Checks of a loaded model, and their cached findings."""
