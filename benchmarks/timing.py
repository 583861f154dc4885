"""Two ways of doing one thing, timed in turn."""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of each round, for both sides."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    def line(self, work: str, count: int, ours: str, theirs: str) -> str:
        """Write rates and their ratio, the median of the rounds with the extremes behind it."""
        ratios = sorted(b / a for a, b in zip(self.ours, self.theirs, strict=True))
        rate_ours, rate_theirs = (count / statistics.median(x) for x in (self.ours, self.theirs))
        return (
            f"{work}: {ours} {rate_ours:.1f}/s, {theirs} {rate_theirs:.1f}/s, "
            f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> Timing:
    """Time both sides alternately after one unmeasured round of each."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for count in range(rounds + 1):
        for side, work in enumerate((ours, theirs)):
            began = time.perf_counter()
            work()
            if count:
                seconds[side].append(time.perf_counter() - began)
    return Timing(tuple(seconds[0]), tuple(seconds[1]))


def machine() -> str:
    """Name the machine and the versions that a figure was measured with."""
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("patchgrid", "torch", "transformers", "nnsight")
    )
    return f"{platform.machine()}, {torch.get_num_threads()} threads; {packages}"
