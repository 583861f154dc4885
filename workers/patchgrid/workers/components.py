"""From a pair's scores by position to the components that its job compares across pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchgrid.engine.names import REST
from patchgrid.engine.results import PairResult
from patchgrid.engine.types import Pair

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Alignment:
    """How positions of pairs of different length are put side by side."""

    #: The job's span names; empty: positions are counted from the end.
    spans: tuple[str, ...] = ()

    def columns(self, pair: Pair, length: int) -> list[tuple[int, ...]]:
        """Give the pair's own positions in each aligned column; an empty column is one it does not have."""
        if not self.spans:
            return [(length - 1 - column,) for column in range(length)]
        ranges = pair.spans or {}
        columns = [tuple(range(*ranges[name])) if name in ranges else () for name in self.spans]
        covered = {position for column in columns for position in column}
        return [*columns, tuple(position for position in range(length) if position not in covered)]

    def label(self, column: int) -> str | None:
        """Give a column's span name, or None where columns count from the end."""
        return (*self.spans, REST)[column] if self.spans else None


@dataclass(frozen=True, slots=True)
class AlignedScores:
    """One pair's scores at one site, by the components that are compared across pairs."""

    #: float32 `[layer(, column)(, head)]`.
    values: Floats
    #: bool of the same shape, true where the pair has the component; None: it has them all.
    present: Mask | None


def failure(result: PairResult) -> str | None:
    """Say why a pair has no scores that can be summed, though its metrics may be numbers; None if it has."""
    if result.error is not None:
        return result.error
    for site, scores in result.scores.items():
        if not np.isfinite(scores).all():
            return f"the scores of {site} are not finite: the metric's gradient is NaN or infinite"
    return None


def arrange(
    scores: Floats, alignment: Alignment, columns: Sequence[tuple[int, ...]], kind: str
) -> AlignedScores:
    """Give the scores of the components of this kind, `whole` or `aligned`."""
    return AlignedScores(whole(scores), None) if kind == "whole" else align(scores, alignment, columns)


def whole(scores: Floats) -> Floats:
    """Sum `[layer, position(, head)]` over positions."""
    total: Floats = scores.sum(axis=1, dtype=np.float64).astype(np.float32)
    return total


def align(scores: Floats, alignment: Alignment, columns: Sequence[tuple[int, ...]]) -> AlignedScores:
    """Put `[layer, position(, head)]` into the alignment's columns, summed over each column's positions."""
    if not alignment.spans:
        return AlignedScores(scores[:, ::-1], None)
    values = np.stack([scores[:, list(column)].sum(axis=1) for column in columns], axis=1)
    has = np.array([bool(column) for column in columns])
    shape = (1, -1) + (1,) * (values.ndim - 2)
    return AlignedScores(values, np.broadcast_to(has.reshape(shape), values.shape))
