"""Halving a batch that memory does not hold."""

from collections.abc import Sequence

import pytest
import torch

from patchgrid.engine.runs.memory import in_halves


def holding(limit: int, error: RuntimeError) -> tuple[list[list[int]], object]:
    """Work that fails above a number of items, and what it was called with."""
    calls: list[list[int]] = []

    def work(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        if len(items) > limit:
            raise error
        return list(items)

    return calls, work


def test_what_fits_runs_whole() -> None:
    """No halving without need."""
    calls, work = holding(8, torch.OutOfMemoryError())
    assert in_halves(work, range(8)) == [list(range(8))]  # type: ignore[arg-type]
    assert len(calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_what_does_not_fit_runs_in_halves_in_order(error: RuntimeError) -> None:
    """Every item is worked once, in order."""
    _, work = holding(2, error)
    assert in_halves(work, range(7)) == [[0], [1, 2], [3, 4], [5, 6]]  # type: ignore[arg-type]


def test_a_single_item_that_does_not_fit_is_an_error() -> None:
    """There is nothing left to halve."""
    _, work = holding(0, torch.OutOfMemoryError("full"))
    with pytest.raises(torch.OutOfMemoryError):
        in_halves(work, range(4))  # type: ignore[arg-type]


def test_other_errors_are_not_mistaken_for_memory() -> None:
    """A shape that does not fit is not cured by a smaller batch."""
    calls, work = holding(0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        in_halves(work, range(4))  # type: ignore[arg-type]
    assert len(calls) == 1
