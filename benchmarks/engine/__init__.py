"""The engine: scores, exact patching, memory, precision."""
