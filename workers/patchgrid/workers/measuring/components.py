"""From pairs' scores by position to the components that their job compares across pairs."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.types import Pair
from patchgrid.engine.results import PairResult
from patchgrid.storage.chunks.alignment import Alignment, Columns, in_columns
from patchgrid.storage.chunks.naming import has_positions

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Stack:
    """Scores at one site of pairs that have the same components."""

    #: float32 `[pair, layer(, column)(, inner)]`.
    values: Floats
    #: bool of the same shape, true where the pair has the component; None: all have them all.
    present: Mask | None = None


class Scores:
    """The scores of a chunk's pairs by component; a pair is known by its place in the chunk.

    Where no method is named, the first is meant.
    """

    def __init__(self, pairs: Sequence[Pair], spans: tuple[str, ...], methods: Sequence[str]) -> None:
        self._pairs, self._alignment = pairs, Alignment(spans)
        self._methods = tuple(methods)
        self._results: dict[int, PairResult] = {}
        #: Of each pair: why it has no scores to sum, though its metrics may be numbers; else None.
        self.errors: dict[int, str | None] = {}
        #: Of each pair that has scores: its own positions in each aligned column.
        self.columns: dict[int, Columns] = {}
        #: Method and site to float32 `[pair, layer(, inner)]`, the pairs by place.
        self._whole: dict[tuple[str, str], Floats] = {}

    def add(self, places: Sequence[int], results: Sequence[PairResult]) -> None:
        """Take in the scores of some of the pairs; each counts as it would alone."""
        self._results.update(zip(places, results, strict=True))
        self.errors.update((place, self._results[place].error) for place in places)
        good = self.good(places)
        for place in good:
            result = self._results[place]
            self.columns[place] = self._alignment.columns(
                self._pairs[place], len(result.tokens), result.prefix
            )
        for method in self._methods if good else ():
            for site in self._results[good[0]].scores[method]:
                self._add_whole(method, site, good)

    def good(self, places: Iterable[int]) -> list[int]:
        """Return those of these places whose pairs have scores that can be summed."""
        return [place for place in places if self.errors[place] is None and not self._results[place].skipped]

    def of_pair(self, place: int, site: str, method: str | None = None) -> Floats:
        """Return a pair's scores at a site as returned by the engine."""
        return self._results[place].scores[method or self._methods[0]][site]

    def whole(self, place: int, site: str, method: str | None = None) -> Floats:
        """Return a pair's scores at a site over all positions, `[layer(, inner)]`."""
        row: Floats = self._whole[method or self._methods[0], site][place]
        return row

    def stacks(
        self, kind: str, site: str, places: Sequence[int], method: str | None = None
    ) -> Iterator[tuple[list[int], Stack]]:
        """Put the scores of the pairs at these places together, by components of this kind.

        Yields each stack after its places: all of them, but where positions are counted from the end those
        of pairs of one length.
        """
        if kind == "whole":
            groups, make = [list(places)], self._stack_whole
        elif self._alignment.spans:
            groups, make = [list(places)], self._stack_spans
        else:
            groups, make = self._by_length(places), self._stack_positions
        yield from ((group, make(method or self._methods[0], site, group)) for group in groups if group)

    def _add_whole(self, method: str, site: str, places: Sequence[int]) -> None:
        """Sum scores over positions, unless they came so."""
        totals = self._totals(method, site, places)
        finite = np.isfinite(totals).all(axis=tuple(range(1, totals.ndim)))
        for row in np.flatnonzero(~finite).tolist():
            by = "" if method == self._methods[0] else f" by {method}"
            reason = f"the scores of {site}{by} are not finite: the metric's gradient is NaN or infinite"
            self.errors[places[row]] = self.errors[places[row]] or reason
        if (method, site) not in self._whole:
            self._whole[method, site] = np.zeros((len(self._pairs), *totals.shape[1:]), np.float32)
        self._whole[method, site][places] = totals

    def _totals(self, method: str, site: str, places: Sequence[int]) -> NDArray[Any]:
        """From `[layer, position(, inner)]` to `[pair, layer(, inner)]`, all pairs in one call."""
        scores = [self.of_pair(place, site, method) for place in places]
        if not has_positions(scores[0], site):
            return np.stack(scores)
        ends = np.cumsum([array.shape[1] for array in scores])
        # Infinities may be among the scores of a pair that fails.
        with np.errstate(invalid="ignore"):
            totals: NDArray[np.float64] = np.add.reduceat(
                np.concatenate(scores, axis=1, dtype=np.float64), [0, *ends[:-1]], axis=1
            )
        return totals.swapaxes(0, 1)

    def _stack_whole(self, method: str, site: str, places: Sequence[int]) -> Stack:
        return Stack(self._whole[method, site][places])

    def _stack_positions(self, method: str, site: str, places: Sequence[int]) -> Stack:
        return Stack(np.array([self.of_pair(place, site, method) for place in places])[:, :, ::-1])

    def _stack_spans(self, method: str, site: str, places: Sequence[int]) -> Stack:
        """Sum each pair's scores over the positions of each column."""
        values = np.stack(
            [in_columns(self.of_pair(place, site, method), self.columns[place]) for place in places]
        )
        has = np.array([[bool(column) for column in self.columns[place]] for place in places])
        shape = (len(places), 1, -1) + (1,) * (values.ndim - 3)
        return Stack(values, np.broadcast_to(has.reshape(shape), values.shape))

    def _by_length(self, places: Sequence[int]) -> list[list[int]]:
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for place in places:
            groups[len(self._results[place].tokens)].append(place)
        return list(groups.values())
