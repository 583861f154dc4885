"""The rounding floor: how large effects are that are only rounding."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

#: Effects below this multiple of the floor are near it.
NEAR = 10


@dataclass(frozen=True, slots=True)
class Rounding:
    """Sums over cells whose patch was only rounding; additive over chunks."""

    cells: int = 0
    #: Sum of their squared effects, squared metric units.
    squares: float = 0.0

    @classmethod
    def of(cls, effects: ArrayLike) -> "Rounding":
        """Sum effects that are only rounding."""
        values = np.asarray(effects, np.float64)
        return cls(values.size, float(np.square(values).sum()))

    def __add__(self, other: "Rounding") -> "Rounding":
        return Rounding(self.cells + other.cells, self.squares + other.squares)

    @property
    def floor(self) -> float | None:
        """Their root mean square, in metric units: smaller effects are rounding; None: unknown."""
        return (self.squares / self.cells) ** 0.5 if self.cells else None


def is_near(floor: float | None, effects: Iterable[float | None]) -> bool:
    """Return whether the median size of effects is below ten times the floor."""
    sizes = [abs(effect) for effect in effects if effect is not None]
    return bool(floor and sizes and np.median(sizes) < NEAR * floor)
