"""A component's mean effect and its interval, from sums alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from patchgrid.estimates.sums import Sums


@dataclass(frozen=True, slots=True)
class Estimates:
    """What is known of each component over a job's pairs; arrays over the component axes, in metric units."""

    #: Pairs that have the component, int64.
    n: NDArray[np.int64]
    #: Mean score over the pairs; NaN without any.
    mean: NDArray[np.float64]
    #: Mean |score| over the pairs.
    mean_abs: NDArray[np.float64]
    #: Sample standard deviation of the score over the pairs; NaN with fewer than two.
    std: NDArray[np.float64]
    #: Estimated mean effect: the mean score corrected by the sampled cells; NaN where none was sampled.
    estimate: NDArray[np.float64]
    #: Lower end of the interval; NaN where the sample gives none.
    ci_low: NDArray[np.float64]
    #: Upper end of the interval.
    ci_high: NDArray[np.float64]
    #: Sampled cells, patched exactly, int64.
    exact_n: NDArray[np.int64]


def estimate(sums: Sums, *, population: bool = False, level: float = 0.95) -> Estimates:
    """Estimate each component's mean effect, with an interval at confidence `level`.

    With w = 1 / inclusion, r = effect - score, and sums over a component's sampled cells, the estimate is
    mean score + Σwr / Σw: the difference estimator in Hájek's form (Särndal, Swensson and Wretman 1992,
    "Model Assisted Survey Sampling", chapters 5 and 6). It stays unbiased however wrong the scores are, but
    for a term of order 1 / exact_n. Its variance is (1/Σw)² Σ(1 - inclusion) w² (r - r̄)² · k / (k - 1)
    with r̄ = Σwr / Σw and Kish's effective sample size k = (Σw)² / Σw²; the interval is Student's t, its
    degrees of freedom k - 1. The factor k / (k - 1), absent from the large-sample formula, makes up for r̄
    being fitted to the same cells.

    The interval is for the mean over *this job's* pairs. Where every cell was patched, with certainty, it
    is a point. With `population` it is for the mean over the source of the pairs, and the pairs' own
    sampling variance s²/n is added, s² = Σw (effect - ē)² / Σw · k / (k - 1) with ē = Σw effect / Σw. That
    is the variance of two-phase sampling (Särndal, Swensson and Wretman, chapter 9); prediction-powered
    inference (Angelopoulos et al. 2023, arXiv 2301.09633) has the like of it for measured cells that are
    not among the scored ones. It takes the pairs to be independent draws.

    A component has no interval (NaN) where one cell was sampled, or where all sampled cells had inclusion 1
    and others were left out: such a sample says nothing of the rest. With few and uneven weights (k near 1)
    the interval is enormous. An interval is too short where rare pairs carry most of the difference between
    effect and score and the sample missed them.
    """
    assert 0 < level < 1, f"level {level} is not between 0 and 1"
    n = sums["n"]
    mean = _ratio(sums["a"], n)
    exact_n = sums["m"] if sums.sampled else np.zeros_like(n)
    middle, half = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    if sums.sampled:
        middle = mean + _ratio(sums["wr"], sums["w"])
        half = _half_width(sums, population=population, level=level)
    return Estimates(
        n=n.astype(np.int64),
        mean=mean,
        mean_abs=_ratio(sums["abs_a"], n),
        std=np.sqrt(_ratio(np.maximum(sums["aa"] - sums["a"] * np.nan_to_num(mean), 0), n - 1)),
        estimate=middle,
        ci_low=middle - half,
        ci_high=middle + half,
        exact_n=exact_n.astype(np.int64),
    )


def _half_width(sums: Sums, *, population: bool, level: float) -> NDArray[np.float64]:
    """Give half the interval's length, NaN where there is none."""
    total = sums["w"]
    size = _ratio(total**2, sums["ww"])
    bias = _ratio(size, size - 1)
    r_mean = _ratio(sums["wr"], total)
    squares = np.maximum(sums["vrr"] - 2 * r_mean * sums["vr"] + r_mean**2 * sums["v"], 0)
    variance = _ratio(squares, total**2) * bias
    certain = sums["v"] == 0
    census = certain & (sums["m"] == sums["n"]) & (sums["n"] > 0)
    variance[certain & ~census] = np.nan
    variance[census] = 0
    if population:
        e_mean = _ratio(sums["we"], total)
        spread = np.maximum(_ratio(sums["wee"], total) - e_mean**2, 0)
        variance += _ratio(spread * bias, sums["n"])
    half: NDArray[np.float64] = special.stdtrit(size - 1, (1 + level) / 2) * np.sqrt(variance)
    if not population:
        half[census] = 0
    return half


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, giving NaN wherever the divisor is not above 0."""
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
