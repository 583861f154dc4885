"""Standard errors of figures over cells that belong to pairs."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


def totals(pair: NDArray[np.integer], rows: _Array) -> _Array:
    """Add up the rows `[cell, sum]` of each pair's cells, to `[pair, sum]`."""
    _, place = np.unique(pair, return_inverse=True)
    return np.stack([np.bincount(place, row) for row in rows.T], axis=1)


def left_out_error(without: _Array) -> _Array:
    """Return the standard errors of figures from their values `[part, figure]` without one part each.

    The jackknife (Quenouille 1956, Tukey 1958) over pairs or groups of pairs: a pair's cells depend on one
    another, pairs do not. The errors are for the population that the pairs are a sample of. NaN with fewer
    than two parts, and where a figure is not determined without some part.
    """
    parts = len(without)
    if parts <= 1:
        return np.full(without.shape[1:], np.nan)
    error: _Array = np.sqrt(np.square(without - without.mean(axis=0)).sum(axis=0) * (parts - 1) / parts)
    return error


def jackknife(figures: Callable[[_Array], _Array], by_pair: _Array) -> tuple[_Array, _Array]:
    """Return figures `[figure]` of sums over pairs, and their standard errors.

    `by_pair` are the sums of each pair's cells `[pair, sum]`, `figures` turns sums `[..., sum]` into figures
    `[..., figure]`.
    """
    whole = by_pair.sum(axis=0)
    return figures(whole), left_out_error(figures(whole - by_pair))
