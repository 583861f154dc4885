"""Sums over groups of pairs, from which an interval for the population takes how far groups differ."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Most groups with sums of their own: with more, several are summed as one, which leaves an interval valid
#: and costs a few degrees of freedom.
MOST_GROUPS = 32
#: Over all pairs of a group that have the component: their number, score, total effect. Over the sampled
#: cells of these pairs, with w = 1 / inclusion and r = effect - score: w, w times score, total effect and r.
GROUP_SUMS = ("n", "a", "d", "w", "wa", "wd", "wr")
_OVER_PAIRS = 3
#: Position axis of a group's array.
_ALIGNED = 2

_Array = NDArray[np.float64]


class GroupSums:
    """Sums of each group, float64 `[sum, *axes]` in the order of `GROUP_SUMS`."""

    __slots__ = ("values",)

    def __init__(self, values: dict[int, _Array] | None = None) -> None:
        #: By number of group, below `MOST_GROUPS`.
        self.values: dict[int, _Array] = {} if values is None else values

    def add_pairs(
        self,
        groups: NDArray[np.integer[Any]],
        scores: NDArray[Any],
        present: NDArray[np.bool_] | None,
        total_effects: NDArray[Any] | None,
        axes: tuple[int, ...],
    ) -> None:
        """Add scores `[pair, *axes]` of pairs of these groups, to sums of (possibly longer) `axes`."""
        numbers = np.asarray(groups) % MOST_GROUPS
        for number in np.unique(numbers).tolist():
            of_group = numbers == number
            values = np.asarray(scores[of_group], np.float64)
            has = np.ones(values.shape, np.bool_)
            if present is not None:
                has = np.broadcast_to(present, scores.shape)[of_group]
            window = _window(self._of(number, axes), values.shape[1:])
            window[0] += has.sum(axis=0)
            window[1] += np.where(has, values, 0.0).sum(axis=0)
            if total_effects is not None:
                window[2] += np.tensordot(np.asarray(total_effects, np.float64)[of_group], has, axes=1)

    def add_cells(
        self,
        groups: NDArray[np.integer[Any]],
        bins: NDArray[np.integer[Any]],
        rows: _Array,
        axes: tuple[int, ...],
    ) -> None:
        """Add rows `[sum, cell]` (w, wa, wd, wr) of sampled cells at flat places `bins` of `axes`."""
        numbers, size = np.asarray(groups) % MOST_GROUPS, int(np.prod(axes))
        for number in np.unique(numbers).tolist():
            own = numbers == number
            into = self._of(number, axes)
            for place, row in enumerate(rows):
                into[_OVER_PAIRS + place] += np.bincount(bins[own], row[own], minlength=size).reshape(axes)

    def add(self, other: "GroupSums", axes: tuple[int, ...], sign: float = 1.0) -> None:
        """Add (or with `sign` -1 take away) those of other pairs."""
        for number, values in other.values.items():
            _window(self._of(number, axes), values.shape[1:])[...] += sign * values

    def stacked(self, axes: tuple[int, ...]) -> _Array:
        """Return them as `[group, sum, *axes]`, in the order of their numbers."""
        found = [self._of(number, axes) for number in sorted(self.values)]
        return np.stack(found) if found else np.zeros((0, len(GROUP_SUMS), *axes))

    def copy(self) -> "GroupSums":
        """Return a copy of its own."""
        return GroupSums({number: values.copy() for number, values in self.values.items()})

    def _of(self, number: int, axes: tuple[int, ...]) -> _Array:
        """Return a group's sums for components of these axes, grown where positions were added."""
        values = self.values.get(number)
        if values is None or values.shape[1:] != axes:
            grown = np.zeros((len(GROUP_SUMS), *axes))
            if values is not None:
                _window(grown, values.shape[1:])[...] = values
            self.values[number] = values = grown
        return values


def _window(values: _Array, axes: tuple[int, ...]) -> _Array:
    """Return the part of `[sum, *axes]` that components of these axes take: fewer positions perhaps."""
    return values if values.shape[1:] == axes else values[:, :, : axes[1]]
