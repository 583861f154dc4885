"""Estimates of components with few patched cells: shrunk toward the mean score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchgrid.estimates.sums import Sums

#: Cells from which on a component's estimate is its own.
OWN_FROM = 3
#: Fewest components with cells that tell how much components differ.
_COMPONENTS = 3
#: Degrees of freedom below which the variance within components counts for at least twice itself.
_CAUTION = 5.0

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FewCells:
    """Mean effects of components that have cells, but fewer than three; arrays over the component axes."""

    #: Which components these are.
    few: NDArray[np.bool_]
    #: Their mean effects; NaN elsewhere.
    estimate: _Array


def few_cells(sums: Sums) -> FewCells:
    """Estimate the mean effects of components with fewer than three cells.

    With r = effect - score of a component's cells, k in effect, in units of its mean |score|,

        estimate = mean score + k / (k + t) · mean r,

    the best linear predictor where components differ by more than chance (Henderson 1975): t is the variance
    of r within components over that between them, from the analysis of variance of all cells of the site, in
    which small components count as much as large ones; it is taken for larger where few cells tell it.
    Where components do not differ beyond chance, t is infinite, and a lone cell moves nothing. There is no
    interval: a value that is drawn toward another is not unbiased.

    Components without a cell, with all of their cells patched, or in a site of fewer than three components
    with cells are left out.
    """
    blank = FewCells(np.zeros(sums.axes, np.bool_), np.full(sums.axes, np.nan))
    if not sums.sampled:
        return blank
    n, w, m = sums["n"], sums["w"], sums["m"]
    size = _ratio(w**2, sums["ww"])
    scale = _ratio(sums["abs_a"], n)
    known = (m > 0) & (scale > 0)
    if known.sum() < _COMPONENTS:
        return blank
    level, squares = _ratio(sums["wr"], w * scale), _ratio(sums["wrr"], w * scale**2)
    prior = _prior(size[known], level[known], squares[known])
    few = known & (m < OWN_FROM) & (sums["sure"] < n)
    own = size / (size + prior) * level * scale
    return FewCells(few, np.where(few, _ratio(sums["a"], n) + own, np.nan))


def _prior(size: _Array, level: _Array, squares: _Array) -> float:
    """Return the variance within components over that between them, infinite without the latter."""
    several = size >= 2
    freedom = (size[several] - 1).sum()
    if not freedom > 0:
        return np.inf
    within = (size * np.maximum(squares - level**2, 0))[several].sum() / freedom
    between = ((size * level**2).sum() - within * len(size)) / size.sum()
    # Few degrees of freedom say little of either.
    return float(within / between * (1 + _CAUTION / freedom)) if between > 0 else np.inf


def _ratio(top: _Array, bottom: _Array) -> _Array:
    """Divide, giving 0 wherever the divisor is not above 0."""
    result: _Array = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    return result
