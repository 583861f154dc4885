"""Why pairs fail, in a few words that stay the same: operators count them."""

#: What a reason says, and the cause that it is counted as; the first that fits.
_CAUSES = (
    ("out of memory", "memory"),
    ("not finite", "not-a-number"),
    ("was lost", "crashed"),
    ("CUDA error", "crashed"),
    ("token", "tokens"),
    ("differ in length", "tokens"),
)


def cause_of(reason: str) -> str:
    """Give the cause that a failed pair's reason is counted as; `error` where none fits."""
    return next((cause for words, cause in _CAUSES if words in reason), "error")


def reason_of(error: BaseException) -> str:
    """Describe an error in one line."""
    if isinstance(error, MemoryError):
        return "out of memory"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def is_device_broken(error: BaseException) -> bool:
    """Tell an error of CUDA's after which the process can compute nothing more."""
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)
