"""Continuing with smaller batches when out of memory."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_out_of_memory(error: Exception) -> bool:
    """Tell an exhausted GPU or CPU allocator from other runtime errors."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def in_halves(work: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> list[Result]:
    """Run `work` on all items, or, where memory does not hold them, on halves of halves in order.

    Raises
    ------
    RuntimeError
        Memory does not hold even a single item.
    """
    try:
        return [work(items)]
    except RuntimeError as error:
        if len(items) == 1 or not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(items) // 2
    return in_halves(work, items[:middle]) + in_halves(work, items[middle:])
