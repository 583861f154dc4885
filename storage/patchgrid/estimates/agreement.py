"""How well scores agree with exact effects, over the sampled cells of a site."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchgrid.estimates.sums import Sums

#: A sum of squares about the mean that is a smaller part of the raw sum than this is rounding, not spread.
_ROUNDING = 1e-13


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of score and effect over all cells.

    It is estimated from the sampled cells, each with the weight 1 / inclusion. A figure that they do not
    determine (none of them, one alone, no spread) is NaN.
    """

    #: Sampled cells.
    n: int
    #: Pearson correlation.
    pearson: float
    #: Spearman rank correlation; NaN when made from sums, which keep no ranks.
    spearman: float
    #: Slope of the least-squares line of effect on score.
    slope: float
    #: Intercept of that line, in metric units.
    intercept: float
    #: Share of the cells with an effect other than 0 whose score has its sign; a score of 0 does not.
    sign_agreement: float
    #: Mean of effect - score, in metric units.
    bias: float


def agreement(scores: ArrayLike, effects: ArrayLike, inclusion: ArrayLike) -> Agreement:
    """Compare the scores and effects of sampled cells, three arrays with an entry a cell.

    The weights 1 / inclusion undo the sample's preference for large scores, so that the figures are for all
    cells. Spearman is Pearson on weighted midranks: the weight of all smaller cells plus half the weight of
    the equal ones.
    """
    a, e, pi = (np.asarray(x, np.float64).ravel() for x in (scores, effects, inclusion))
    assert ((pi > 0) & (pi <= 1)).all(), "an inclusion probability is not in (0, 1]"
    w = 1 / pi
    signed = w[e != 0].sum()
    agree = w[(e != 0) & (np.sign(a) == np.sign(e))].sum()
    pearson, slope = _correlate(a, e, w)
    return Agreement(
        n=len(a),
        pearson=pearson,
        spearman=_correlate(_midranks(a, w), _midranks(e, w), w)[0],
        slope=slope,
        intercept=float(_mean(e, w) - slope * _mean(a, w)),
        sign_agreement=float(agree / signed) if signed > 0 else math.nan,
        bias=_mean(e - a, w),
    )


def site_agreement(sums: Sums) -> Agreement:
    """Compare score and effect over all of a site's components from its sums alone, without Spearman."""
    assert sums.sampled, "these sums have no sampled cells"
    m, w, wa, wr, waa, war, wrr, signed, agree = (
        float(sums[name].sum()) for name in ("m", "w", "wa", "wr", "waa", "war", "wrr", "w_signed", "w_agree")
    )
    we, wae, wee = wa + wr, waa + war, waa + 2 * war + wrr
    if m == 0:
        return Agreement(0, *[math.nan] * 6)
    saa, see, sae = waa - wa * wa / w, wee - we * we / w, wae - wa * we / w
    pearson, slope = _line(saa if saa > _ROUNDING * waa else 0, sae, see if see > _ROUNDING * wee else 0)
    return Agreement(
        n=round(m),
        pearson=pearson,
        spearman=math.nan,
        slope=slope,
        intercept=(we - slope * wa) / w,
        sign_agreement=agree / signed if signed > 0 else math.nan,
        bias=wr / w,
    )


def top_overlap(mean: ArrayLike, estimate: ArrayLike, k: int) -> float:
    """Return the share of the k largest |estimate| that are among the k largest |mean| score too.

    Components without an estimate are omitted. NaN where k is not below the number of those that have one:
    all of them are always all of them. Ties go to the component that comes first.
    """
    by_score, by_estimate = np.abs(np.ravel(mean)), np.abs(np.ravel(estimate))
    finite = np.isfinite(by_score) & np.isfinite(by_estimate)
    if not 0 < k < finite.sum():
        return math.nan
    tops = [np.argsort(-by[finite], kind="stable")[:k] for by in (by_score, by_estimate)]
    return len(np.intersect1d(tops[0], tops[1])) / k


def _correlate(x: NDArray[Any], y: NDArray[Any], w: NDArray[Any]) -> tuple[float, float]:
    """Return the weighted Pearson correlation and the slope of y on x."""
    dx, dy = _centred(x, w), _centred(y, w)
    return _line(float((w * dx * dx).sum()), float((w * dx * dy).sum()), float((w * dy * dy).sum()))


def _line(sxx: float, sxy: float, syy: float) -> tuple[float, float]:
    """Return correlation and slope from the weighted sums of squares and products about the means."""
    if sxx <= 0:
        return math.nan, math.nan
    if syy <= 0:
        return math.nan, sxy / sxx
    return min(1.0, max(-1.0, sxy / (math.sqrt(sxx) * math.sqrt(syy)))), sxy / sxx


def _centred(x: NDArray[Any], w: NDArray[Any]) -> NDArray[Any]:
    """Subtract the weighted mean; exact zeros where there is no spread, whatever the mean's rounding."""
    return x - _mean(x, w) if len(x) and np.ptp(x) > 0 else np.zeros_like(x)


def _mean(x: NDArray[Any], w: NDArray[Any]) -> float:
    """Return the weighted mean, NaN of nothing."""
    return float((w * x).sum() / w.sum()) if len(x) else math.nan


def _midranks(x: NDArray[Any], w: NDArray[Any]) -> NDArray[Any]:
    """Return each value's weighted midrank."""
    _, group = np.unique(x, return_inverse=True)
    weight = np.bincount(group, w)
    return (np.cumsum(weight) - weight / 2)[group] if len(x) else x
