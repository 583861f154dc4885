"""A component's mean effect and its interval, from sums alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from patchgrid.estimates.few_cells import few_cells
from patchgrid.estimates.moderation import PRIOR, trend
from patchgrid.estimates.sums import Sums

#: Smallest effective number of sampled cells (Kish's) that a regression is fitted to.
FIT_FROM = 8.0
#: Coefficients of the regression: level, slope on the score, slope on the total effect.
_COEFFICIENTS = 3
#: A sum of squares about the mean that is a smaller part of the raw sum than this is rounding, not spread.
_ROUNDING = 1e-9
#: Keeps the two slopes apart where score and total effect are proportional; far below what a sample tells.
_RIDGE = 1e-6

#: Cells that the trend over components counts as in a variance.
_TREND = 0.15
#: Cells that carry the variance: fewer than this many, and than this part of them, are few.
_FEW_CARRIERS, _CARRYING = 5.0, 1 / 6
#: Degrees of freedom by which a variance is known, for each cell that carries it.
OF_CARRIERS = 1.5

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


@dataclass(frozen=True, slots=True)
class _Fit:
    """The mean effect, estimated from the sampled cells and all pairs."""

    #: The estimate.
    middle: _Array
    #: Variance of its error, without the pairs' own.
    variance: _Array
    #: Degrees of freedom.
    freedom: _Array


def estimate(sums: Sums, *, population: bool = False, level: float = 0.95, together: int = 0) -> Estimates:
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
    is a point. With `population` it is for the mean over the source of the pairs, and the pairs' own
    sampling variance s²/n is added, s² = Σw (e - ē)² / Σw · k / (k - 1) with ē = Σwe / Σw. That is the
    variance of two-phase sampling (Särndal, Swensson and Wretman, chapter 9); prediction-powered inference
    (Angelopoulos et al. 2023, arXiv 2301.09633) has a similar term for measured cells that are not among
    the scored ones. It takes the pairs to be independent draws.

    The variance is moderated: one from k cells counts as k, a trend over the components (see `moderation`) as
    `_TREND`. So a component whose few cells happened to be alike gets no interval of next to no length.

    With `together` the intervals of so many components hold all at once with confidence `level`: each has
    confidence 1 - (1 - level) / together (Bonferroni), and a variance that is never below its moderated one,
    in which the trend counts as `PRIOR`.

    From fewer than three cells the estimate is shrunk toward the mean score (`few_cells`) and has
    no interval.

    A component has no interval (NaN) where one cell was sampled, or where all sampled cells had inclusion 1
    and others were omitted: such a sample says nothing of the rest. With few and uneven weights (k near 1)
    the interval is enormous. An interval is too short where rare pairs carry most of the difference between
    effect and score and the sample missed them.
    """
    assert 0 < level < 1, f"level {level} is not between 0 and 1"
    n = sums["n"]
    mean = _ratio(sums["a"], n)
    exact_n = sums["m"] if sums.sampled else np.zeros_like(n)
    middle, half, own, error = (np.full_like(mean, np.nan) for _ in range(4))
    heavy = np.zeros(mean.shape, np.bool_)
    if sums.sampled:
        fit = _fit(sums, mean, together=together)
        alone = 1 - (1 - level) / max(together, 1)
        middle, own = fit.middle, _half_width(sums, fit, population=False, level=alone)
        half = _half_width(sums, fit, population=True, level=alone) if population else own
        error, heavy = np.sqrt(fit.variance), _is_heavy(sums)
    few = few_cells(sums)
    middle = np.where(few.few, few.estimate, middle)
    half, own, error = (np.where(few.few, np.nan, each) for each in (half, own, error))
    return Estimates(
        n=n.astype(np.int64),
        mean=mean,
        mean_abs=_ratio(sums["abs_a"], n),
        std=np.sqrt(_ratio(np.maximum(sums["aa"] - sums["a"] * np.nan_to_num(mean), 0), n - 1)),
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


@dataclass(frozen=True, slots=True)
class _Line:
    """The line fitted to the sampled cells' r = e - a, and the weighted moments that it comes from."""

    #: Effective number of cells.
    size: _Array
    #: Whether there are slopes.
    fitted: NDArray[np.bool_]
    #: Means of a, d and r.
    a: _Array
    d: _Array
    r: _Array
    #: Variances and covariances; a variance of 0 counts as 1.
    saa: _Array
    sdd: _Array
    srr: _Array
    sad: _Array
    sar: _Array
    sdr: _Array
    #: saa sdd - sad².
    determinant: _Array
    #: Slopes.
    by_a: _Array
    by_d: _Array

    @classmethod
    def of(cls, sums: Sums, fit_from: float = FIT_FROM) -> "_Line":
        """Fit it by weighted least squares where there are at least so many cells."""
        total = sums["w"]
        size = _ratio(total**2, sums["ww"])
        a, d, r = (_ratio(sums[name], total) for name in ("wa", "wd", "wr"))
        saa, sdd, srr = (
            _spread(sums[name], mean, total) for name, mean in (("waa", a), ("wdd", d), ("wrr", r))
        )
        sad, sar, sdr = (
            _ratio(sums[name], total) - left * right
            for name, left, right in (("wad", a, d), ("war", a, r), ("wdr", d, r))
        )
        fitted = size >= fit_from
        # A regressor without spread has no slope.
        sad, sar, sdr = (
            np.where(ok, s, 0) for s, ok in ((sad, (saa * sdd) > 0), (sar, saa > 0), (sdr, sdd > 0))
        )
        saa, sdd = (np.where(s > 0, s * (1 + _RIDGE), 1) for s in (saa, sdd))
        determinant = saa * sdd - sad**2
        by_a = np.where(fitted, (sar * sdd - sad * sdr) / determinant, 0)
        by_d = np.where(fitted, (sdr * saa - sad * sar) / determinant, 0)
        return cls(size, fitted, a, d, r, saa, sdd, srr, sad, sar, sdr, determinant, by_a, by_d)

    @property
    def freedom(self) -> _Array:
        """The effective number of cells less the coefficients."""
        return self.size - np.where(self.fitted, _COEFFICIENTS, 1)


def residuals(sums: Sums, fit_from: float = 6.0) -> tuple[_Array, _Array]:
    """Return the variance of what score and total effect do not explain, and its degrees of freedom.

    From the sampled cells, weighted by 1 / inclusion; both are 0 where there are fewer than two. With fewer
    than `fit_from` effective cells the mean alone is taken off.
    """
    if not sums.sampled:
        return np.zeros(sums.axes), np.zeros(sums.axes)
    line = _Line.of(sums, fit_from)
    left = line.srr - line.by_a * line.sar - line.by_d * line.sdr
    known = (line.freedom > 0) & (sums["m"] > 1)
    variance = np.maximum(left, 0) * _ratio(line.size, line.freedom)
    return np.where(known, variance, 0.0), np.where(known, line.freedom, 0.0)


def lines_of(sums: Sums, shrink: float = 2.0) -> _Array:
    """Return the line fitted to each component's sampled cells, `[level, by score, by total effect; *axes]`.

    r = e - a is about level + by score * a + by total effect * d. A level from k effective cells alone is
    shrunk by k / (k + `shrink`); without any cell it is 0.
    """
    if not sums.sampled:
        return np.zeros((3, *sums.axes))
    line = _Line.of(sums)
    level = line.r - line.by_a * line.a - line.by_d * line.d
    level = np.where(line.fitted, level, level * line.size / (line.size + shrink))
    return np.nan_to_num(np.stack([level, line.by_a, line.by_d]))


def _fit(sums: Sums, mean: _Array, together: int = 0) -> _Fit:
    """Fit the line, and take its value at the means over all pairs."""
    line = _Line.of(sums)
    to_a, to_d = mean - line.a, _ratio(sums["d"], sums["n"]) - line.d
    leverage = (to_a**2 * line.sdd - 2 * to_a * to_d * line.sad + to_d**2 * line.saa) / line.determinant
    inflation = _ratio(line.size, line.freedom) ** 2 * (1 + np.where(line.fitted, leverage, 0))
    squares = _residual_squares(sums, (line.a, line.d, line.r), line.by_a, line.by_d)
    middle = mean + line.r + line.by_a * to_a + line.by_d * to_d
    variance = _ratio(squares, sums["w"] ** 2) * inflation
    by_trend = _trend(sums) * _ratio(sums["v"], sums["w"] ** 2) * inflation
    prior = PRIOR if together else _TREND
    moderate = (line.freedom * variance + prior * by_trend) / (line.freedom + prior)
    variance = np.where(line.freedom > 0, np.maximum(moderate, variance) if together else moderate, variance)
    # With every cell certain, the sample is all of them, or says nothing of the rest.
    certain = sums["sure"] == sums["m"]
    variance[certain] = np.where(_census(sums), 0, np.nan)[certain]
    return _Fit(middle, variance, np.fmin(line.freedom, OF_CARRIERS * carriers(sums)))


def _trend(sums: Sums) -> _Array:
    """Return each component's residual variance by the trend over all of them."""
    scales = np.fmax(_ratio(sums["abs_a"], sums["n"]), np.finfo(np.float64).tiny)
    variances, freedoms = residuals(sums)
    return trend(scales.ravel(), variances.ravel(), freedoms.ravel()).reshape(sums.axes)


def _census(sums: Sums) -> NDArray[np.bool_]:
    census: NDArray[np.bool_] = (sums["sure"] == sums["n"]) & (sums["n"] > 0)
    return census


def _is_heavy(sums: Sums) -> NDArray[np.bool_]:
    """Tell where fewer cells carry the variance than one would see by chance with normal residuals."""
    few = np.minimum(_FEW_CARRIERS, sums["m"] * _CARRYING)
    heavy: NDArray[np.bool_] = (carriers(sums) < few) & (sums["m"] >= FIT_FROM) & ~_census(sums)
    return heavy


def carriers(sums: Sums) -> _Array:
    """Return how many cells carry the variance, (Σv u²)² / Σv² u⁴; NaN where that is not known.

    A third of the cells where they are normal and alike; 1 where one has all of it.
    """
    return _ratio(np.maximum(sums["vuu"], 0) ** 2, sums["vvu4"])


def _spread(squares: _Array, mean: _Array, total: _Array) -> _Array:
    """Return the weighted variance from the weighted sum of squares; 0 for what is mere rounding."""
    raw = _ratio(squares, total)
    spread = raw - mean**2
    return np.where(spread > _ROUNDING * raw, spread, 0)


def _residual_squares(sums: Sums, means: tuple[_Array, _Array, _Array], by_a: _Array, by_d: _Array) -> _Array:
    """Return Σv times the squared residuals (r - r̄) - by_a (a - ā) - by_d (d - d̄)."""
    centre = dict(zip("adr", means, strict=True))

    def about(x: str, y: str) -> _Array:
        return (
            sums[f"v{x}{y}"]
            - centre[x] * sums[f"v{y}"]
            - centre[y] * sums[f"v{x}"]
            + centre[x] * centre[y] * sums["v"]
        )

    squares: _Array = (
        about("r", "r")
        - 2 * (by_a * about("a", "r") + by_d * about("d", "r"))
        + by_a**2 * about("a", "a")
        + 2 * by_a * by_d * about("a", "d")
        + by_d**2 * about("d", "d")
    )
    return np.maximum(squares, 0)


def chance_below(sums: Sums, above: float, *, population: bool = False) -> _Array:
    """Return the p-value of each component against a mean effect of at most `above` in size; NaN if unknown.

    The chance of an estimate as large as this one, were the mean effect `above`, by Student's t.
    """
    fit = _fit(sums, _ratio(sums["a"], sums["n"]))
    variance, freedom = _spread_of(sums, fit, population=population)
    beyond = np.abs(fit.middle) - above
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = special.stdtr(freedom, -beyond / np.sqrt(variance))
    result: _Array = np.where(variance == 0, np.where(beyond > 0, 0.0, 1.0), chance)
    return result


def _half_width(sums: Sums, fit: _Fit, *, population: bool, level: float) -> _Array:
    """Return half the interval's length, NaN where there is none."""
    variance, freedom = _spread_of(sums, fit, population=population)
    half: _Array = special.stdtrit(freedom, (1 + level) / 2) * np.sqrt(variance)
    return np.where(variance == 0, 0.0, half)


def _spread_of(sums: Sums, fit: _Fit, *, population: bool) -> tuple[_Array, _Array]:
    """Return the variance of the estimate and its degrees of freedom."""
    if not population:
        return fit.variance, fit.freedom
    total = sums["w"]
    size = _ratio(total**2, sums["ww"])
    e_mean = _ratio(sums["wa"] + sums["wr"], total)
    spread = np.maximum(_ratio(sums["waa"] + 2 * sums["war"] + sums["wrr"], total) - e_mean**2, 0)
    variance = fit.variance + _ratio(spread * _ratio(size, size - 1), sums["n"])
    return variance, np.where(_census(sums), size - 1, fit.freedom)


def _ratio(top: _Array, bottom: _Array) -> _Array:
    """Divide, giving NaN wherever the divisor is not above 0."""
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
