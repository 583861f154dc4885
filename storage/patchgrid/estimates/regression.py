"""The line fitted to a component's sampled cells, and the estimate and variance that it gives."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

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
TREND = 0.15
#: Cells that carry the variance: fewer than this many, and than this part of them, are few.
_FEW_CARRIERS, _CARRYING = 5.0, 1 / 6
#: Degrees of freedom by which a variance is known, for each cell that carries it.
OF_CARRIERS = 1.5

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fit:
    """The mean effect, estimated from the sampled cells and all pairs."""

    #: The estimate.
    middle: _Array
    #: Variance of its error, without the pairs' own.
    variance: _Array
    #: Degrees of freedom.
    freedom: _Array
    #: Factor of the variance for what fitting takes.
    inflation: _Array
    #: What the effects of each group's pairs come to beyond the mean, `[group, *axes]`; None without groups.
    beyond: _Array | None = None


@dataclass(frozen=True, slots=True)
class Line:
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
    def of(cls, sums: Sums, fit_from: float = FIT_FROM) -> "Line":
        """Fit it by weighted least squares where there are at least so many cells."""
        total = sums["w"]
        size = ratio(total**2, sums["ww"])
        a, d, r = (ratio(sums[name], total) for name in ("wa", "wd", "wr"))
        saa, sdd, srr = (
            _spread(sums[name], mean, total) for name, mean in (("waa", a), ("wdd", d), ("wrr", r))
        )
        sad, sar, sdr = (
            ratio(sums[name], total) - left * right
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
    line = Line.of(sums, fit_from)
    left = line.srr - line.by_a * line.sar - line.by_d * line.sdr
    known = (line.freedom > 0) & (sums["m"] > 1)
    variance = np.maximum(left, 0) * ratio(line.size, line.freedom)
    return np.where(known, variance, 0.0), np.where(known, line.freedom, 0.0)


def lines_of(sums: Sums, shrink: float = 2.0) -> _Array:
    """Return the line fitted to each component's sampled cells, `[level, by score, by total effect; *axes]`.

    r = e - a is about level + by score * a + by total effect * d. A level from k effective cells alone is
    shrunk by k / (k + `shrink`); without any cell it is 0.
    """
    if not sums.sampled:
        return np.zeros((3, *sums.axes))
    line = Line.of(sums)
    level = line.r - line.by_a * line.a - line.by_d * line.d
    level = np.where(line.fitted, level, level * line.size / (line.size + shrink))
    return np.nan_to_num(np.stack([level, line.by_a, line.by_d]))


def fitted(sums: Sums, mean: _Array, together: int = 0) -> Fit:
    """Fit the line, and take its value at the means over all pairs."""
    line = Line.of(sums)
    to_a, to_d = mean - line.a, ratio(sums["d"], sums["n"]) - line.d
    leverage = (to_a**2 * line.sdd - 2 * to_a * to_d * line.sad + to_d**2 * line.saa) / line.determinant
    inflation = ratio(line.size, line.freedom) ** 2 * (1 + np.where(line.fitted, leverage, 0))
    squares = _residual_squares(sums, (line.a, line.d, line.r), line.by_a, line.by_d)
    middle = mean + line.r + line.by_a * to_a + line.by_d * to_d
    variance = ratio(squares, sums["w"] ** 2) * inflation
    variance = moderate(sums, variance, line.freedom, inflation, together)
    # With every cell certain, the sample is all of them, or says nothing of the rest.
    certain = sums["sure"] == sums["m"]
    variance[certain] = np.where(_census(sums), 0, np.nan)[certain]
    freedom = np.fmin(line.freedom, OF_CARRIERS * carriers(sums))
    fit = Fit(middle, variance, freedom, np.where(certain, 1.0, inflation))
    return fit if sums.groups is None else replace(fit, beyond=_beyond(sums, line, fit))


def moderate(sums: Sums, variance: _Array, freedom: _Array, inflation: _Array, together: int) -> _Array:
    """Moderate an estimate's variance, known by degrees of freedom, toward the trend over components.

    With `together` it stays what it is at least.
    """
    by_trend = _trend(sums) * ratio(sums["v"], sums["w"] ** 2) * inflation
    prior = PRIOR if together else TREND
    with np.errstate(divide="ignore", invalid="ignore"):
        moderated = (freedom * variance + prior * by_trend) / (freedom + prior)
    return np.where(freedom > 0, np.maximum(moderated, variance) if together else moderated, variance)


def _beyond(sums: Sums, line: Line, fit: Fit) -> _Array:
    """Return T_g = Σ (a + line) - n_g (the estimate) over a group's pairs, + n/Σw Σ w u over its cells."""
    assert sums.groups is not None, "these sums are not by group"
    n, a, d, w, wa, wd, wr = np.moveaxis(sums.groups.stacked(sums.axes), 1, 0)
    on_line = a + n * line.r + line.by_a * (a - n * line.a) + line.by_d * (d - n * line.d)
    left = wr - w * line.r - line.by_a * (wa - w * line.a) - line.by_d * (wd - w * line.d)
    left = left * ratio(sums["n"], sums["w"]) * np.sqrt(fit.inflation)
    result: _Array = on_line - n * fit.middle + left
    return result


def _trend(sums: Sums) -> _Array:
    """Return each component's residual variance by the trend over all of them."""
    scales = np.fmax(ratio(sums["abs_a"], sums["n"]), np.finfo(np.float64).tiny)
    variances, freedoms = residuals(sums)
    return trend(scales.ravel(), variances.ravel(), freedoms.ravel()).reshape(sums.axes)


def _census(sums: Sums) -> NDArray[np.bool_]:
    census: NDArray[np.bool_] = (sums["sure"] == sums["n"]) & (sums["n"] > 0)
    return census


def is_heavy(sums: Sums) -> NDArray[np.bool_]:
    """Tell where fewer cells carry the variance than one would see by chance with normal residuals."""
    few = np.minimum(_FEW_CARRIERS, sums["m"] * _CARRYING)
    heavy: NDArray[np.bool_] = (carriers(sums) < few) & (sums["m"] >= FIT_FROM) & ~_census(sums)
    return heavy


def carriers(sums: Sums) -> _Array:
    """Return how many cells carry the variance, (Σv u²)² / Σv² u⁴; NaN where that is not known.

    A third of the cells where they are normal and alike; 1 where one has all of it.
    """
    return ratio(np.maximum(sums["vuu"], 0) ** 2, sums["vvu4"])


def _spread(squares: _Array, mean: _Array, total: _Array) -> _Array:
    """Return the weighted variance from the weighted sum of squares; 0 for what is mere rounding."""
    raw = ratio(squares, total)
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


def ratio(top: _Array, bottom: _Array) -> _Array:
    """Divide, giving NaN wherever the divisor is not above 0."""
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
