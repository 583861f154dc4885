"""Finding repeated pairs by hashes, sixteen bytes per pair."""

from array import array
from dataclasses import dataclass

import numpy as np

from patchgrid.core.types import Pair

#: Repeated pairs that are named.
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Repeats:
    """The pairs whose prompts and answers are those of another pair before them."""

    #: Their number.
    count: int = 0
    #: The places of the first few, each with the place of the pair it repeats.
    first: tuple[tuple[int, int], ...] = ()

    def notes(self, unit: str) -> tuple[str, ...]:
        """Say so, if there are any."""
        if not self.count:
            return ()
        named = ", ".join(f"{place} and {before}" for place, before in self.first)
        more = ", …" if self.count > len(self.first) else ""
        pairs = f"{self.count:,} pair repeats" if self.count == 1 else f"{self.count:,} pairs repeat"
        return (f"{pairs} another ({unit}s {named}{more}): each counts in the means",)


class RepeatFinder:
    """Takes in pairs one by one, and finds those that are the same."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._places = array("q")

    def add(self, place: int | None, pair: Pair) -> None:
        """Add the pair at a line or row."""
        self._hashes.append(hash((pair.clean, pair.corrupted, pair.correct, pair.incorrect)))
        self._places.append(-1 if place is None else place)

    def found(self) -> Repeats:
        """Return what repeats another one so far."""
        if not self._hashes:
            return Repeats()
        hashes = np.frombuffer(self._hashes, np.int64)
        order = np.argsort(hashes, kind="stable")
        ranked = hashes[order]
        same = np.flatnonzero(ranked[1:] == ranked[:-1]) + 1
        if not len(same):
            return Repeats()
        starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
        rows = order[same]
        originals = order[starts[np.searchsorted(starts, same, side="right") - 1]]
        first = np.argsort(rows, kind="stable")[:SHOWN]
        named = tuple((self._places[rows[at]], self._places[originals[at]]) for at in first.tolist())
        return Repeats(len(same), named)
