"""Variances from few cells, moderated toward a trend over components."""

import numpy as np
from numpy.typing import NDArray

#: Cells that the trend counts as, beside a component's own.
PRIOR = 4.0
#: Coefficients of the trend, and its largest slope: residuals in proportion to the score.
_COEFFICIENTS, _STEEPEST = 2, 2.0

_Array = NDArray[np.float64]


def trend(scales: _Array, variances: _Array, freedoms: _Array) -> _Array:
    """Return the variance that a component of this mean |score| has by a log-linear trend over all of them.

    `variances` with `freedoms` above 0 tell it, weighted by these; 1 where none does.
    """
    told = (freedoms > 0) & (variances > 0)
    if not told.any():
        return np.ones(len(scales))
    sizes, weights, logs = np.log(scales), freedoms[told], np.log(variances[told])
    slope = 0.0
    if told.sum() > _COEFFICIENTS and np.ptp(sizes[told]) > 0:
        slope = float(np.clip(np.polyfit(sizes[told], logs, 1, w=np.sqrt(weights))[0], 0, _STEEPEST))
    result: _Array = np.exp(np.average(logs - slope * sizes[told], weights=weights) + slope * sizes)
    return result


def moderated(scales: _Array, variances: _Array, freedoms: _Array, prior: float = PRIOR) -> _Array:
    """Return (k v + prior t) / (k + prior), v a variance with k degrees of freedom and t its trend."""
    own = np.where((freedoms > 0) & (variances > 0), freedoms, 0.0)
    result: _Array = (own * variances + prior * trend(scales, variances, freedoms)) / (own + prior)
    return result
