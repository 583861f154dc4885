"""Others' code on the same pairs."""
