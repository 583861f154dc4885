"""One estimate from the scores of several methods: the generalized regression estimator on all of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchgrid.estimates.regression import OF_CARRIERS

#: Effective cells (Kish's) for each coefficient: with fewer, the first method's own estimate stands.
PER_COEFFICIENT = 4.0
#: A direction in which standardized scores vary less than this is rounding, or one score in another's words.
_RANK = 1e-5

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Combined:
    """Estimates of mean effects; arrays over components, NaN where there are too few cells."""

    estimate: _Array
    #: Variance of the error, for the mean over the job's own pairs.
    variance: _Array
    #: Degrees of freedom.
    freedom: _Array
    #: Variance of the effects over the pairs that these are a sample of.
    spread: _Array


def combined(
    scores: _Array,
    effects: _Array,
    inclusion: _Array,
    component: NDArray[np.int64],
    means: _Array,
) -> Combined:
    """Estimate mean effects from sampled cells by a line in all methods' scores and the total effect.

    As `estimate`, whose formulas these are, with q = 1 + the number of regressors. Regressors that vary
    together (scores of two methods in proportion) share their coefficient by the pseudo-inverse.

    Parameters
    ----------
    scores
        `[regressor, cell]`: a row for each method, and one for the pair's total effect.
    effects, inclusion, component
        Of each cell: its effect, its probability of being in the sample, its component's number.
    means
        `[regressor, component]`: each regressor's mean over all of the job's pairs.
    """
    count = means.shape[1]
    rows = np.concatenate([scores, effects[None]])
    w = 1 / inclusion
    v = (1 - inclusion) * w * w
    total, squares = (np.bincount(component, each, count) for each in (w, w * w))
    enough = total > 0
    middle = np.stack([np.bincount(component, w * row, count) for row in rows]) / np.where(enough, total, 1)
    away = rows - middle[:, component]
    spread = _products(w, away, component, count) / np.where(enough, total, 1)
    size = total**2 / np.where(enough, squares, 1)
    coefficients = len(means) + 1
    slopes, leverage = _fit(spread, means - middle[:-1])
    left = away[-1] - (slopes[:, component] * away[:-1]).sum(axis=0)
    known = size >= PER_COEFFICIENT * coefficients
    squares, fourths = (np.bincount(component, each, count) for each in (v * left**2, (v * left**2) ** 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = squares / total**2 * (size / (size - coefficients)) ** 2 * (1 + leverage)
        freedom = np.fmin(size - coefficients, OF_CARRIERS * squares**2 / fourths)
        own = spread[-1, -1] * size / (size - 1)
    middles = middle[-1] + (slopes * (means - middle[:-1])).sum(axis=0)
    return Combined(*(np.where(known, each, np.nan) for each in (middles, variance, freedom, own)))


def _products(w: _Array, away: _Array, component: NDArray[np.int64], count: int) -> _Array:
    """Return Σ w x y of all pairs of rows by component, `[row, row, component]`."""
    found = np.empty((len(away), len(away), count))
    for i, left in enumerate(away):
        for j in range(i + 1):
            found[i, j] = found[j, i] = np.bincount(component, w * left * away[j], count)
    return found


def _fit(spread: _Array, delta: _Array) -> tuple[_Array, _Array]:
    """Return the slopes `[regressor, component]`, and δᵀ S⁻¹ δ, by the inverse of the correlations."""
    deviation = np.sqrt(np.maximum(np.einsum("iic->ic", spread[:-1, :-1]), 0))
    scale = np.where(deviation > 0, deviation, 1)
    correlations = np.moveaxis(spread[:-1, :-1] / (scale[:, None] * scale[None]), -1, 0)
    inverse = np.linalg.pinv(correlations, rcond=_RANK, hermitian=True)
    slopes = np.einsum("cij,jc->ic", inverse, spread[:-1, -1] / scale) / scale
    scaled = delta / scale
    return slopes, np.einsum("ic,cij,jc->c", scaled, inverse, scaled)
