"""How well components' mean scores agree with their estimated mean effects."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from patchgrid.estimates.verification.clusters import totals

#: Least effective number of cells (Kish's) of a component whose estimate is compared: from fewer, its error
#: is as uncertain as itself.
LEAST_CELLS = 3.0
#: Least components that a line is drawn through.
_LEAST_COMPONENTS = 3
#: A sum of squares about the mean that is a smaller part of the raw sum than this is rounding, not spread.
_ROUNDING = 1e-10

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MeanAgreement:
    """Mean score against mean effect over a site's components, each counted once; NaN where unknown."""

    #: Components compared.
    n: int
    #: Pearson correlation, without the part of the estimates' spread that is their own error.
    pearson: float
    pearson_se: float
    #: Slope of mean effect on mean score.
    slope: float
    slope_se: float
    #: Root mean square difference of mean scores and mean effects, both about their means over components, as
    #: a share of the effects' spread: √(1 - r² + r² (1 - 1/slope)²), 0 where scores could stand for effects.
    error: float
    error_se: float
    #: Share of the square of `error_se` that is the sampling of cells; the rest is that of pairs.
    error_sampling: float


@dataclass(frozen=True, slots=True)
class TopAgreement:
    """The k components of largest |mean score| against those of largest |estimate|."""

    #: Components compared: k.
    k: int
    #: How many of the top k by score have a patched cell.
    patched: int
    #: Share of the top k by score that are in the top k by estimate; NaN where some were never patched, or
    #: where there are no more than k components: all of them are always all of them.
    overlap: float
    overlap_se: float


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A site's sampled cells: arrays with an entry a cell."""

    #: Scores and effects, metric units.
    score: _Array
    effect: _Array
    #: Inclusion probabilities.
    inclusion: _Array
    #: Pairs, as numbers.
    pair: NDArray[np.int64]
    #: Components, as flat indices.
    component: NDArray[np.int64]


def mean_agreement(
    mean: _Array, estimate: _Array, error: _Array, n: NDArray[Any], size: _Array, cells: Cells
) -> MeanAgreement:
    """Compare mean scores x and estimated mean effects y of a site's components, arrays over components.

    `error` are the estimates' standard errors for the job's pairs, `n` their pairs and `size` the effective
    numbers of their cells. The squares V of the errors add to the spread of y, not to its covariance with x,
    which is known: Pearson is Sxy / √(Sxx (Syy - ΣV)), a correlation without attenuation (Spearman 1904), and
    the slope is Sxy / Sxx.

    Standard errors are first-order. One part is the sampling of cells, Σ(∂figure/∂y)² V: cells are drawn
    independently. The other is that of the pairs, in which all cells of a pair move together: the variance
    between pairs of T = Σw (∂figure/∂y (e - y) + ∂figure/∂x (a - x)) / n over a pair's cells, less what of it
    is sampling, Σ(1 - inclusion) w² of the squared terms.
    """
    mean, estimate, error, n, size = (np.ravel(each) for each in (mean, estimate, error, n, size))
    used = (size >= LEAST_CELLS) & np.isfinite(error) & np.isfinite(estimate)
    count = int(used.sum())
    x, y = (np.where(used, each, 0.0) for each in (mean, estimate))
    variance = np.where(used, error, 0.0) ** 2
    sums = _Moments.of(x, y, variance, used)
    if count < _LEAST_COMPONENTS or sums.xx <= 0:
        return MeanAgreement(count, *[math.nan] * 7)

    def error_of(figure: "_Figure") -> float:
        return figure.error(x, y, variance, n, cells)

    slope = sums.slope()
    if sums.yy <= 0:
        return MeanAgreement(count, math.nan, math.nan, slope.value, error_of(slope), *[math.nan] * 3)
    pearson, apart = sums.pearson(), sums.error()
    return MeanAgreement(
        count,
        *(min(1.0, max(-1.0, pearson.value)), error_of(pearson)),
        *(slope.value, error_of(slope)),
        *(apart.value, error_of(apart)),
        apart.sampling(variance) / max(error_of(apart) ** 2, np.finfo(float).tiny),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Figure:
    """A figure with its derivatives by each component's mean effect, mean score, and by ΣV."""

    value: float
    by_effect: _Array
    by_score: _Array
    by_noise: float = 0.0

    def error(self, mean: _Array, estimate: _Array, variance: _Array, n: NDArray[Any], cells: Cells) -> float:
        """Return the figure's standard error."""
        c, w = cells.component, 1 / cells.inclusion
        apart = self.by_effect[c] * (cells.effect - estimate[c]) + self.by_score[c] * (cells.score - mean[c])
        apart /= n[c]
        of_pairs = totals(cells.pair, (w * apart)[:, None])
        between = float((of_pairs**2).sum()) * len(of_pairs) / max(1, len(of_pairs) - 1)
        drawn = float(((1 - cells.inclusion) * (w * apart) ** 2).sum())
        return math.sqrt(self.sampling(variance) + max(0.0, between - drawn))

    def sampling(self, variance: _Array) -> float:
        """Return the figure's variance by the sampling of cells alone."""
        # The square of a normal error of variance V has itself the variance 2 V².
        return float(self.by_effect**2 @ variance + self.by_noise**2 * 2 * (variance @ variance))


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """Mean scores x and mean effects y about their means, and their sums of squares and products."""

    x: _Array
    y: _Array
    xx: float
    xy: float
    #: Without the estimates' own errors.
    yy: float

    @classmethod
    def of(cls, x: _Array, y: _Array, variance: _Array, used: NDArray[np.bool_]) -> "_Moments":
        """Take them over the components that are `used`."""
        count = max(1, int(used.sum()))
        dx, dy = (np.where(used, each - each.sum() / count, 0.0) for each in (x, y))
        # Means of components that are the same but for the rounding of float32 have no spread.
        dx, dy = (d * (d @ d > _ROUNDING * (each @ each)) for d, each in ((dx, x), (dy, y)))
        return cls(dx, dy, float(dx @ dx), float(dx @ dy), float(dy @ dy) - float(variance.sum()))

    def slope(self) -> _Figure:
        value = self.xy / self.xx
        return _Figure(value, self.x / self.xx, (self.y - 2 * value * self.x) / self.xx)

    def pearson(self) -> _Figure:
        root = math.sqrt(self.xx * self.yy)
        value = self.xy / root
        by_effect = self.x / root - value * self.y / self.yy
        return _Figure(value, by_effect, self.y / root - value * self.x / self.xx, value / (2 * self.yy))

    def error(self) -> _Figure:
        square = max(0.0, (self.xx - 2 * self.xy) / self.yy + 1)
        value = math.sqrt(square)
        by_square = 1 / (2 * max(value, 0.01))
        by_effect = by_square * 2 * (self.y - self.x - square * self.y) / self.yy
        by_score = by_square * 2 * (self.x - self.y) / self.yy
        return _Figure(value, by_effect, by_score, by_square * (square - 1) / self.yy)


def top_agreement(
    mean: _Array, estimate: _Array, error: _Array, exact_n: NDArray[Any], k: int
) -> TopAgreement:
    """Compare the top k by |mean score| with the top k by |estimate|, arrays over components.

    Where nothing was patched |mean| stands in for the estimate, as in lists; components without a mean are
    left out. Ties go to the component that comes first. The error is that of a sum of independent chances:
    each component's chance of being above the middle between the k-th and the next largest.
    """
    mean, estimate, error, exact_n = (np.ravel(each) for each in (mean, estimate, error, exact_n))
    here = np.isfinite(mean)
    by_score = np.abs(mean[here])
    effect = np.where(np.isfinite(estimate), estimate, mean)[here]
    top = np.argsort(-by_score, kind="stable")[:k]
    patched = int((exact_n[here][top] > 0).sum())
    if not 0 < k < len(by_score) or patched < k:
        return TopAgreement(k, patched, math.nan, math.nan)
    order = np.argsort(-np.abs(effect), kind="stable")
    least = np.abs(effect)[order[k - 1 : k + 1]].mean()
    overlap = len(np.intersect1d(top, order[:k])) / k
    chance = _above(effect[top], np.where(np.isfinite(error), error, np.inf)[here][top], least)
    return TopAgreement(k, patched, overlap, math.sqrt(float((chance * (1 - chance)).sum())) / k)


def _above(effect: _Array, error: _Array, least: float) -> _Array:
    """Return the chances that |effect| is above `least`, for normal errors."""
    size = np.abs(effect)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(error > 0, (size - least) / error, np.inf * np.sign(size - least))
    chance: _Array = special.ndtr(distance)
    return chance
