"""Aligning positions of pairs of different length in columns."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.names import REST
from patchgrid.core.types import Pair, place_spans

#: A pair's own positions in each aligned column.
Columns = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Alignment:
    """How positions of pairs of different length are put side by side."""

    #: The job's span names; empty: positions are counted from the end.
    spans: tuple[str, ...] = ()

    def columns(self, pair: Pair, length: int, prefix: int) -> Columns:
        """Return the pair's own positions in each aligned column; an empty column is one it does not have.

        `prefix` is the number of tokens before the prompts' texts.
        """
        if not self.spans:
            return _from_the_end(length)
        ranges = place_spans(pair.spans, prefix)
        columns = [tuple(range(*ranges[name])) if name in ranges else () for name in self.spans]
        covered = {position for column in columns for position in column}
        return (*columns, tuple(position for position in range(length) if position not in covered))

    def column_of(self, position: int | None, span: str | None, length: int) -> int:
        """Return the column of a position of a pair of `length` tokens, or of a span."""
        if span is None:
            assert position is not None, "a cell of an aligned job has a position or a span"
            return length - 1 - position
        return (*self.spans, REST).index(span)

    def label(self, column: int) -> str | None:
        """Return a column's span name, or None where columns count from the end."""
        return (*self.spans, REST)[column] if self.spans else None


def in_columns(scores: NDArray[np.float32], columns: Columns) -> NDArray[np.float32]:
    """Put one pair's `[layer, position(, inner)]` into columns, `[layer, column(, inner)]`."""
    return np.stack([scores[:, list(column)].sum(axis=1) for column in columns], axis=1)


@lru_cache(maxsize=256)
def _from_the_end(length: int) -> Columns:
    return tuple((position,) for position in reversed(range(length)))
