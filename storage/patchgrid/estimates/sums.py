"""The sums over pairs that chunks commit and that every estimate is made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchgrid.estimates.group_sums import GroupSums

#: Sums over all pairs that have the component, a the score: number of pairs, a, |a|, a².
SCORE_SUMS = ("n", "a", "abs_a", "aa")
#: Kept where cells are sampled. The first, over all pairs that have the component: d, the pair's total effect
#: (clean metric - corrupted metric). The others over the sampled cells, e the effect, r = e - a, w = 1 /
#: inclusion, v = (1 - inclusion) w²: number of cells, w², w where e is not 0, w where e is not 0 and has the
#: sign of a; then Σw and Σv times the products of any two of (1, a, d, r); the number of cells with inclusion
#: 1, which tells a census: unlike Σv, it is exact however rounds are added up; last Σv u² and Σv² u⁴, u what
#: a line that was fixed beforehand leaves of r.
CELL_SUMS = (
    *("d", "m", "ww", "w_signed", "w_agree"),
    *("w", "wa", "wd", "wr", "waa", "wad", "war", "wdd", "wdr", "wrr"),
    *("v", "va", "vd", "vr", "vaa", "vad", "var", "vdd", "vdr", "vrr"),
    *("sure", "vuu", "vvu4"),
)
#: What sums that were stored before there were later rounds lack.
LATER_SUMS = ("sure", "vuu", "vvu4")

#: What follows `w` and `v` in the names of sums of a method's scores times those by an earlier method of the
#: job, then that method's number. One line in the scores of all methods needs them.
CROSSED = "aa_"
#: Of these, those that are kept by group.
_OF_GROUPS = ("w", "wa", "wd", "wr")

#: Scores converted to float64 at a time; bounds the memory that adding many pairs takes.
_BLOCK = 1 << 16
#: Axis of `Sums.values` that holds aligned positions.
_ALIGNED = 2


@dataclass(slots=True, eq=False)
class Sums:
    """Named float64 sums over pairs, one of each for every component of a site.

    The component axes are `[layer(, position)(, head)]`. With `aligned`, the second of them counts
    positions from the end (index 0 is the last) and grows as longer pairs come; a shorter pair lacks the
    positions beyond its own.
    """

    #: float64 `[sum, *axes]`, the sums in the order of `names`.
    values: NDArray[np.float64]
    #: Whether the second component axis is aligned positions, padded when sizes differ.
    aligned: bool = False
    #: Sums of groups of pairs, where pairs share groups and cells are sampled.
    groups: GroupSums | None = None

    @classmethod
    def zeros(
        cls,
        axes: Sequence[int],
        *,
        sampled: bool,
        aligned: bool = False,
        grouped: bool = False,
        crosses: int = 0,
    ) -> Self:
        """Start empty sums for components of these axes.

        `sampled` makes room for the cells' sums, `grouped` beside them for sums of groups, `crosses` for
        products with the scores by so many earlier methods.
        """
        assert not aligned or len(axes) > 1, "aligned sums have a position axis"
        count = len(SCORE_SUMS) + (len(CELL_SUMS) + 2 * crosses) * sampled
        return cls(np.zeros((count, *axes)), aligned, GroupSums() if grouped and sampled else None)

    @classmethod
    def from_array(
        cls,
        array: ArrayLike,
        names: Sequence[str],
        *,
        aligned: bool = False,
        groups: GroupSums | None = None,
    ) -> Self:
        """Read back what `to_array` and `names` gave, in whatever order the names are.

        Of sums that were stored before there was `sure`, it follows from Σv: no cell was left to chance. What
        else they lack is NaN.
        """
        values = dict(zip(names, np.asarray(array, np.float64), strict=True))
        if "m" in values and "sure" not in values:
            values["sure"] = np.where(values["v"] == 0, values["m"], 0)
        crosses = sum(name.startswith(f"w{CROSSED}") for name in values)
        expected = names_of(sampled="m" in values, crosses=crosses)
        values |= {name: np.full_like(values["n"], np.nan) for name in expected if name not in values}
        return cls(np.stack([values[name] for name in expected]), aligned, groups)

    def to_array(self) -> NDArray[np.float64]:
        """Return the sums as one contiguous float64 array `[sum, *axes]`, in the order of `names`."""
        return np.ascontiguousarray(self.values)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sums, in order."""
        return names_of(sampled=self.sampled, crosses=self.crosses)

    @property
    def crosses(self) -> int:
        """With the scores by how many earlier methods products are summed."""
        return max(0, len(self.values) - len(SCORE_SUMS) - len(CELL_SUMS)) // 2

    @property
    def sampled(self) -> bool:
        """Whether there are sums over sampled cells."""
        return len(self.values) > len(SCORE_SUMS)

    @property
    def axes(self) -> tuple[int, ...]:
        """Sizes of the component axes."""
        return self.values.shape[1:]

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        row: NDArray[np.float64] = self.values[self.names.index(name)]
        return row

    def add_pairs(
        self,
        scores: NDArray[Any],
        present: NDArray[np.bool_] | None = None,
        *,
        total_effects: NDArray[Any] | None = None,
        groups: NDArray[np.integer[Any]] | None = None,
    ) -> None:
        """Add the scores `[pair, *axes]` of several pairs at once.

        `present` is true for the components that a pair has and broadcasts against `scores`; what stands in
        `scores` elsewhere is ignored. With aligned sums the position axis may have any size.
        `total_effects` `[pair]` are the pairs' clean metrics less their corrupted ones; sums without sampled
        cells have no use for them, and None counts as 0. `groups` are the numbers of the pairs' groups, which
        grouped sums need.
        """
        window = self._window(scores.shape[1:])
        if self.groups is not None and len(scores):
            assert groups is not None, "these sums are by group"
            self.groups.add_pairs(groups, scores, present, total_effects, self.axes)
        if self.sampled and total_effects is not None:
            window[len(SCORE_SUMS)] += _spread(total_effects, scores.shape, present)
        values = window[: len(SCORE_SUMS)]
        step = max(1, _BLOCK // max(1, scores[0].size)) if len(scores) else 1
        for start in range(0, len(scores), step):
            block = np.asarray(scores[start : start + step], np.float64)
            here: NDArray[np.bool_] | None = None
            if present is not None:
                here = np.broadcast_to(present, scores.shape)[start : start + step]
                block = np.where(here, block, 0.0)
            values[0] += len(block) if here is None else here.sum(axis=0)
            values[1] += block.sum(axis=0)
            values[2] += np.abs(block).sum(axis=0)
            values[3] += np.einsum("p...,p...->...", block, block)
        assert np.isfinite(values).all(), "a score is not finite: such a pair must fail before it is added"

    def add_cells(
        self,
        index: tuple[NDArray[np.integer[Any]], ...],
        scores: NDArray[Any],
        effects: NDArray[Any],
        inclusion: NDArray[Any],
        total_effects: NDArray[Any] | None = None,
        lines: NDArray[np.float64] | None = None,
        groups: NDArray[np.integer[Any]] | None = None,
        others: NDArray[Any] | None = None,
    ) -> None:
        """Add sampled cells: arrays with an entry a cell.

        `index` holds one array for each component axis, as `np.nonzero` gives; the same component may come
        many times (once a pair). Scores, effects and the total effects of the cells' pairs (None: all 0) in
        metric units, inclusion probabilities above 0 and up to 1. `lines` `[3, *axes]` are each component's
        level and slopes on score and total effect, fixed beforehand (None, and for positions that they lack:
        all 0). `groups` are the numbers of the groups of the cells' pairs, which grouped sums need; `others`
        `[method, cell]` the cells' scores by earlier methods, which crossed sums need.
        """
        assert self.sampled, "these sums have no room for cells"
        if not len(scores):
            return
        if self.aligned:
            self._window((self.axes[0], int(index[1].max()) + 1, *self.axes[2:]))
        if total_effects is None:
            total_effects = np.zeros(len(scores))
        a, e, chance, d = (np.asarray(x, np.float64) for x in (scores, effects, inclusion, total_effects))
        rows = np.stack(_cell_rows(a, e, chance, d, _at(lines, index)))
        if self.crosses:
            assert others is not None, "these sums are crossed"
            assert len(others) == self.crosses, f"{len(others)} earlier methods, not {self.crosses}"
            products = a * np.asarray(others, np.float64)
            weights = np.stack([1 / chance, (1 - chance) / chance**2])
            rows = np.concatenate([rows, *(weight * products for weight in weights)])
        size = int(np.prod(self.axes))
        # Each sum has bins of its own, one per component.
        places = np.ravel_multi_index(index, self.axes)
        bins = places + size * np.arange(len(rows))[:, None]
        totals = np.bincount(bins.ravel(), rows.ravel(), minlength=size * len(rows))
        self.values[len(SCORE_SUMS) + 1 :] += totals.reshape(-1, *self.axes)
        if self.groups is not None:
            assert groups is not None, "these sums are by group"
            by_group = rows[[CELL_SUMS.index(name) - 1 for name in _OF_GROUPS]]
            self.groups.add_cells(groups, places, by_group, self.axes)

    def __iadd__(self, other: "Sums") -> Self:
        assert self.aligned == other.aligned, "aligned sums add to aligned sums only"
        if other.sampled and not self.sampled:
            # What is patched in a later round than the scores only.
            more = len(other.values) - len(self.values)
            self.values = np.concatenate([self.values, np.zeros((more, *self.axes))])
        added = other.values
        if self.sampled and other.sampled and self.crosses != other.crosses:
            # What was stored before there were products of methods' scores lacks them: so does the sum.
            self.values, added = (each[: len(SCORE_SUMS) + len(CELL_SUMS)] for each in (self.values, added))
        self._window(other.axes)[: len(added)] += added
        self._add_groups(other, 1.0)
        return self

    def __isub__(self, other: "Sums") -> Self:
        assert self.names == other.names, "the same sums are taken away"
        self._window(other.axes)[...] -= other.values
        self._add_groups(other, -1.0)
        return self

    def _add_groups(self, other: "Sums", sign: float) -> None:
        if other.groups is not None:
            self.groups = GroupSums() if self.groups is None else self.groups
            self.groups.add(other.groups, self.axes, sign)

    def __add__(self, other: "Sums") -> "Sums":
        result = Sums(self.values.copy(), self.aligned, None if self.groups is None else self.groups.copy())
        result += other
        return result

    def _window(self, axes: tuple[int, ...]) -> NDArray[np.float64]:
        """Return a view of the sums for components of these axes, growing aligned sums where needed."""
        if self.aligned and axes[1] > self.axes[1]:
            grown = list(self.values.shape)
            grown[_ALIGNED] = axes[1]
            values = np.zeros(grown)
            values[:, :, : self.axes[1]] = self.values
            self.values = values
        window = self.values[:, :, : axes[1]] if self.aligned else self.values
        assert window.shape[1:] == axes, f"components of shape {axes} do not fit sums of shape {self.axes}"
        return window


def names_of(*, sampled: bool, crosses: int) -> tuple[str, ...]:
    """Name sums in order."""
    if not sampled:
        return SCORE_SUMS
    crossed = (f"{weight}{CROSSED}{place}" for weight in "wv" for place in range(crosses))
    return (*SCORE_SUMS, *CELL_SUMS, *crossed)


def _spread(
    total_effects: NDArray[Any], shape: tuple[int, ...], present: NDArray[np.bool_] | None
) -> NDArray[np.float64] | float:
    """Sum total effects `[pair]` over the pairs that have each component."""
    d = np.asarray(total_effects, np.float64)
    assert np.isfinite(d).all(), "a metric is not finite: such a pair must fail before it is added"
    if present is None:
        return float(d.sum())
    total: NDArray[np.float64] = np.tensordot(d, np.broadcast_to(present, shape), axes=1)
    return total


def _at(
    lines: NDArray[np.float64] | None, index: tuple[NDArray[np.integer[Any]], ...]
) -> NDArray[np.float64]:
    """Return the lines of the components at an index, `[3, cell]`."""
    if lines is None:
        return np.zeros((3, len(index[0])))
    there = np.all([along < size for along, size in zip(index, lines.shape[1:], strict=True)], axis=0)
    places = tuple(np.where(there, along, 0) for along in index)
    return np.where(there, np.stack([line[places] for line in lines]), 0.0)


def _cell_rows(
    a: NDArray[np.float64],
    e: NDArray[np.float64],
    inclusion: NDArray[np.float64],
    d: NDArray[np.float64],
    lines: NDArray[np.float64],
) -> list[NDArray[np.float64]]:
    """Return each cell's part in each of `CELL_SUMS` but the first, in their order."""
    assert ((inclusion > 0) & (inclusion <= 1)).all(), "an inclusion probability is not in (0, 1]"
    assert np.isfinite(a).all(), "a sampled score is not finite"
    assert np.isfinite(e).all(), "an effect is not finite: such a pair must fail before it is added"
    w = 1 / inclusion
    v = (1 - inclusion) * w * w
    signed = e != 0
    agree = signed & (np.sign(a) == np.sign(e))
    r = e - a
    u = r - lines[0] - lines[1] * a - lines[2] * d
    products = (np.ones_like(w), a, d, r, a * a, a * d, a * r, d * d, d * r, r * r)
    return [
        *(np.ones_like(w), w * w, w * signed, w * agree),
        *(w * product for product in products),
        *(v * product for product in products),
        *((inclusion >= 1).astype(np.float64), v * u**2, v**2 * u**4),
    ]
