"""Two ways of doing one thing, timed in turn."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

#: Largest difference of two sides in float32, as a share of the largest value.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Timing:
    """Seconds of each round, for both sides."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def speedups(self) -> list[float]:
        """Their time over ours, one a round."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def rates(self) -> tuple[float, float]:
        """Rounds done in a second by each side, by the median of the rounds."""
        return 1 / median(self.ours), 1 / median(self.theirs)


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> Timing:
    """Time both sides alternately; both have run once before, where their numbers were compared."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for side, work in zip(seconds, (ours, theirs), strict=True):
            side.append(seconds_of(work))
    return Timing(tuple(seconds[0]), tuple(seconds[1]))


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def check(ours: np.ndarray, theirs: np.ndarray, what: str, tolerance: float = TOLERANCE) -> None:
    """End the program unless both sides computed the same numbers, and numbers they are."""
    if ours.shape != theirs.shape:
        raise SystemExit(f"{what}: the two sides gave {ours.shape} and {theirs.shape} numbers")
    error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    print(f"{what}: largest difference {error:.1e} of the largest value")
    if not error < tolerance:  # NaN is not below it
        raise SystemExit(f"{what}: the two sides did not compute the same")
