"""The HTTP service and its page: not part of this version yet."""
