"""Causes of failed pairs, as fixed labels for metrics."""

#: Text in a reason, and its cause; the first match counts.
_CAUSES = (
    ("out of memory", "memory"),
    ("not finite", "not-a-number"),
    ("was lost", "crashed"),
    ("CUDA error", "crashed"),
    ("token", "tokens"),
    ("differ in length", "tokens"),
)


def cause_of(reason: str) -> str:
    """Return the cause of a failed pair's reason; `error` if none matches."""
    return next((cause for words, cause in _CAUSES if words in reason), "error")


def reason_of(error: BaseException) -> str:
    """Describe an error in one line."""
    if isinstance(error, MemoryError):
        return "out of memory"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def is_device_broken(error: BaseException) -> bool:
    """Return whether an error means that the process cannot use its GPU any more."""
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)
