"""A component's mean effect and its interval, from sums alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from patchgrid.estimates.combined import combined, has_combined
from patchgrid.estimates.few_cells import few_cells
from patchgrid.estimates.population import added, between_groups, between_pairs
from patchgrid.estimates.regression import Fit, fitted, is_heavy, ratio
from patchgrid.estimates.sums import Sums

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimates:
    """What is known of each component over a job's pairs; arrays over the component axes, in metric units."""

    #: Pairs that have the component, int64.
    n: NDArray[np.int64]
    #: Mean score over the pairs; NaN without any.
    mean: _Array
    #: Mean |score| over the pairs.
    mean_abs: _Array
    #: Sample standard deviation of the score over the pairs; NaN with fewer than two.
    std: _Array
    #: Estimated mean effect: the mean score corrected by the sampled cells; NaN where none was sampled.
    estimate: _Array
    #: Lower end of the interval; NaN where the sample gives none.
    ci_low: _Array
    #: Upper end of the interval.
    ci_high: _Array
    #: Sampled cells, patched exactly, int64.
    exact_n: NDArray[np.int64]
    #: Ends of the interval for this job's pairs, whatever the others are for.
    pairs_low: _Array
    pairs_high: _Array
    #: Standard error of the estimate for the job's own pairs; 0 where all were patched, NaN where unknown.
    error: _Array
    #: Few cells carry the variance, so that the interval may be too short: more of them should be patched.
    heavy: NDArray[np.bool_]
    #: Whether the estimate is from fewer than three cells and shrunk toward the mean score.
    shrunk: NDArray[np.bool_]


def estimate(
    sums: Sums,
    *,
    population: bool = False,
    level: float = 0.95,
    together: int = 0,
    others: Sequence[Sums] = (),
) -> Estimates:
    """Estimate each component's mean effect, with an interval at confidence `level`.

    a is the score and d the pair's total effect (clean - corrupted metric), both known for every pair; e is
    the effect of a sampled cell, r = e - a, w = 1 / inclusion, k = (Σw)² / Σw² Kish's effective sample size.
    The estimate is the generalized regression estimator (Särndal, Swensson and Wretman 1992, "Model Assisted
    Survey Sampling", chapter 6) on (1, a, d): a line fitted to the sampled r by weighted least squares, and
    its value at the means of a and d over *all* pairs, plus the mean score. With q = 3 coefficients
    and u the residuals its variance is

        Σ(1 - inclusion) w² u² / (Σw)² · (k / (k - q))² · (1 + δᵀ S⁻¹ δ),

    δ the means of (a, d) over all pairs less those of the sample, S the sample's covariance. The last factor
    is that of a fitted line away from its centre; k / (k - q) squared is the jackknife's (HC3 of MacKinnon
    and White 1985) with every cell at the mean leverage. The interval is Student's t. Its degrees of freedom
    are k - q, but where few cells carry the variance no more than 1.5 (Σv u²)² / Σv² u⁴, u what a line that
    was fixed beforehand leaves: twice the square of a variance's mean over the variance of its estimate, for
    cells of the kurtosis that they have (3 would give k / 2; Satterthwaite 1946). The estimate is consistent
    however wrong the scores are: that costs width.

    A sample with k below 8 is too small for a line: there the slopes are 0, δ too, and q = 1 (the difference
    estimator in Hájek's form).

    The interval is for the mean over *this job's* pairs. Where every cell was patched, with certainty, it
    is a point. With `population` it is for the mean over the source of the pairs: see `population`.

    The variance is moderated: one from k cells counts as k, a trend over the components (see `moderation`) as
    `regression.TREND`. So a component whose few cells happened to be alike gets no interval of next to no
    length.

    With `together` the intervals of so many components hold all at once with confidence `level`: each has
    confidence 1 - (1 - level) / together (Bonferroni), and a variance that is never below its moderated one,
    in which the trend counts as `PRIOR`.

    `others` are the sums of the job's further methods, over the same cells: then the line is in the scores of
    all of them (`combined`), while `mean` and the like stay those of the first.

    From fewer than three cells the estimate is shrunk toward the mean score (`few_cells`) and has
    no interval.

    A component has no interval (NaN) where one cell was sampled, or where all sampled cells had inclusion 1
    and others were omitted: such a sample says nothing of the rest. With few and uneven weights (k near 1)
    the interval is enormous. An interval is too short where rare pairs carry most of the difference between
    effect and score and the sample missed them.
    """
    assert 0 < level < 1, f"level {level} is not between 0 and 1"
    n = sums["n"]
    mean = ratio(sums["a"], n)
    exact_n = sums["m"] if sums.sampled else np.zeros_like(n)
    middle, half, own, error = (np.full_like(mean, np.nan) for _ in range(4))
    heavy = np.zeros(mean.shape, np.bool_)
    if sums.sampled:
        fit = _fit(sums, others, together)
        alone = 1 - (1 - level) / max(together, 1)
        middle, own = fit.middle, _half_width(sums, fit, population=False, level=alone)
        half = _half_width(sums, fit, population=True, level=alone) if population else own
        error, heavy = np.sqrt(fit.variance), is_heavy(sums)
    few = few_cells(sums)
    middle = np.where(few.few, few.estimate, middle)
    half, own, error = (np.where(few.few, np.nan, each) for each in (half, own, error))
    return Estimates(
        n=n.astype(np.int64),
        mean=mean,
        mean_abs=ratio(sums["abs_a"], n),
        std=np.sqrt(ratio(np.maximum(sums["aa"] - sums["a"] * np.nan_to_num(mean), 0), n - 1)),
        estimate=middle,
        ci_low=middle - half,
        ci_high=middle + half,
        exact_n=exact_n.astype(np.int64),
        pairs_low=middle - own,
        pairs_high=middle + own,
        error=error,
        heavy=heavy & ~few.few,
        shrunk=few.few,
    )


def _fit(sums: Sums, others: Sequence[Sums], together: int = 0) -> Fit:
    """Fit a line to the scores of a method, or of all methods where they have what that needs."""
    fit = fitted(sums, ratio(sums["a"], sums["n"]), together=together)
    every = (sums, *others)
    return combined(every, fit, together) if has_combined(every) else fit


def chance_below(
    sums: Sums, above: float, *, population: bool = False, others: Sequence[Sums] = ()
) -> _Array:
    """Return the p-value of each component against a mean effect of at most `above` in size; NaN if unknown.

    The chance of an estimate as large as this one in size, were the mean effect `above`, by Student's t: both
    tails, so that at 0 it is that of a two-sided test. Of fewer than three cells, which are shrunk, none is
    known.
    """
    fit = _fit(sums, others)
    variance, freedom = _spread_of(sums, fit, population=population)
    size = np.abs(fit.middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        near, far = ((above - size) / np.sqrt(variance), -(above + size) / np.sqrt(variance))
        chance = special.stdtr(freedom, near) + special.stdtr(freedom, far)
    chance = np.where(variance == 0, np.where(size > above, 0.0, 1.0), chance)
    result: _Array = np.where(few_cells(sums).few, np.nan, chance)
    return result


def _half_width(sums: Sums, fit: Fit, *, population: bool, level: float) -> _Array:
    """Return half the interval's length, NaN where there is none."""
    variance, freedom = _spread_of(sums, fit, population=population)
    half: _Array = special.stdtrit(freedom, (1 + level) / 2) * np.sqrt(variance)
    return np.where(variance == 0, 0.0, half)


def _spread_of(sums: Sums, fit: Fit, *, population: bool) -> tuple[_Array, _Array]:
    """Return the variance of the estimate and its degrees of freedom."""
    if not population:
        return fit.variance, fit.freedom
    between, freedom = between_pairs(sums) if sums.groups is None else between_groups(sums, fit)
    return added(fit.variance, fit.freedom, between, freedom)
