"""One estimate from the scores of several methods: the generalized regression estimator on all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from patchgrid.estimates.regression import OF_CARRIERS, Fit, carriers, moderate, ratio
from patchgrid.estimates.sums import CROSSED, Sums

#: Effective cells (Kish's) for each coefficient: with fewer, the first method's own estimate stands.
PER_COEFFICIENT = 4.0
#: A direction in which standardized scores vary less than this is rounding, or one score in another's words.
_RANK = 1e-5
#: A sum of squares about the mean that is a smaller part of the raw sum than this is rounding, not spread.
_ROUNDING = 1e-9

_Array = NDArray[np.float64]


def has_combined(sums: Sequence[Sums]) -> bool:
    """Tell whether sums of several methods, in their job's order, have what a combined line is made of."""
    return len(sums) > 1 and all(each.sampled and each.crosses == place for place, each in enumerate(sums))


# Where a component has no cells there is nothing to divide by, and `first` stands.
@np.errstate(divide="ignore", invalid="ignore")
def combined(sums: Sequence[Sums], first: Fit, together: int = 0) -> Fit:
    """Fit a line to the scores of all methods and the total effect; where cells are few, `first` stands.

    As `estimate`, whose formulas these are, with q = 1 + the number of regressors. Regressors that vary
    together (scores of two methods in proportion) share their coefficient by the pseudo-inverse. `first` is
    the fit of the first method alone: it stays where nothing is left to chance, and for components with fewer
    effective cells than four for each coefficient: a rule that does not look at effects.
    """
    moments = [_Moments.of(sums, weight) for weight in "wv"]
    spread, size = moments[0].about(moments[0].means), ratio(sums[0]["w"] ** 2, sums[0]["ww"])
    raw = moments[0].raw_squares()
    np.einsum("ii...->i...", spread)[...] = np.where(
        np.einsum("ii...->i...", spread) > _ROUNDING * raw, np.einsum("ii...->i...", spread), 0
    )
    to = _means_of_pairs(sums) - moments[0].means[:-1]
    slopes, leverage = _slopes(spread, to)
    coefficients = len(slopes) + 1
    inflation = (size / (size - coefficients)) ** 2 * (1 + leverage)
    left = np.concatenate([-slopes, np.ones((1, *sums[0].axes))])
    squares = np.einsum("i...,ij...,j...->...", left, moments[1].about(moments[0].means), left)
    squares = np.maximum(squares * moments[1].total, 0)
    variance = ratio(squares, sums[0]["w"] ** 2) * inflation
    variance = moderate(sums[0], variance, size - coefficients, inflation, together)
    middle = moments[0].means[-1] + (slopes * to).sum(axis=0)
    known = (size >= PER_COEFFICIENT * coefficients) & (sums[0]["sure"] < sums[0]["m"])
    known &= np.isfinite(middle) & np.isfinite(variance)

    def either(new: _Array, old: _Array) -> _Array:
        return np.where(known, new, old)

    found = Fit(
        middle=either(middle, first.middle),
        variance=either(variance, first.variance),
        freedom=either(np.fmin(size - coefficients, OF_CARRIERS * carriers(sums[0])), first.freedom),
        inflation=either(inflation, first.inflation),
        beyond=first.beyond,
    )
    if first.beyond is None:
        return found
    return replace(found, beyond=either(_beyond(sums, moments[0].means, slopes, found), first.beyond))


@dataclass(frozen=True, slots=True)
class _Moments:
    """Weighted sums of products of scores by each method, the total effect and the effect."""

    #: Σ of the weights.
    total: _Array
    #: Weighted means, `[variable, *axes]`: scores, total effect, effect.
    means: _Array
    #: Weighted means of products, `[variable, variable, *axes]`.
    products: _Array

    @classmethod
    def of(cls, sums: Sequence[Sums], weight: str) -> "_Moments":
        """Take them from the methods' sums, weighted by `w` or `v`."""
        first, count = sums[0], len(sums)
        products = np.zeros((count + 2, count + 2, *first.axes))
        for place, each in enumerate(sums):
            own = each[f"{weight}aa"]
            row = [each[f"{weight}{CROSSED}{other}"] for other in range(place)]
            products[place, : place + 1] = [*row, own]
            products[place, count] = each[f"{weight}ad"]
            products[place, count + 1] = each[f"{weight}ar"] + own
        products[count, count] = first[f"{weight}dd"]
        products[count, count + 1] = first[f"{weight}dr"] + first[f"{weight}ad"]
        products[count + 1, count + 1] = (
            first[f"{weight}rr"] + 2 * first[f"{weight}ar"] + first[f"{weight}aa"]
        )
        for one in range(count + 2):
            for other in range(one + 1, count + 2):
                filled = products[other, one] if other < count else products[one, other]
                products[one, other] = products[other, one] = filled
        means = [each[f"{weight}a"] for each in sums]
        means += [first[f"{weight}d"], first[f"{weight}a"] + first[f"{weight}r"]]
        total = first[weight]
        return cls(total, ratio(np.stack(means), total[None]), ratio(products, total[None, None]))

    def about(self, centre: _Array) -> _Array:
        """Return the weighted means of products about values of the variables."""
        own = self.means
        return (
            self.products
            - centre[:, None] * own[None]
            - own[:, None] * centre[None]
            + centre[:, None] * centre[None]
        )

    def raw_squares(self) -> _Array:
        """Return the weighted means of the variables' squares."""
        squares: _Array = np.einsum("ii...->i...", self.products)
        return squares


def _means_of_pairs(sums: Sequence[Sums]) -> _Array:
    """Return each regressor's mean over all pairs, `[regressor, *axes]`."""
    rows = [*(each["a"] for each in sums), sums[0]["d"]]
    return ratio(np.stack(rows), sums[0]["n"][None])


def _slopes(spread: _Array, delta: _Array) -> tuple[_Array, _Array]:
    """Return the slopes `[regressor, *axes]`, and δᵀ S⁻¹ δ, by the inverse of the correlations."""
    spread = np.nan_to_num(spread)
    deviation = np.sqrt(np.maximum(np.einsum("ii...->i...", spread[:-1, :-1]), 0))
    scale = np.where(deviation > 0, deviation, 1)
    correlations = np.moveaxis(spread[:-1, :-1] / (scale[:, None] * scale[None]), (0, 1), (-2, -1))
    # A regressor without spread has no slope.
    flat = np.moveaxis(deviation > 0, 0, -1)
    correlations = correlations * flat[..., None] * flat[..., None, :]
    inverse = np.linalg.pinv(correlations, rcond=_RANK, hermitian=True)
    slopes = np.einsum("...ij,j...->i...", inverse, spread[:-1, -1] / scale) / scale
    scaled = np.nan_to_num(delta) / scale
    return slopes, np.einsum("i...,...ij,j...->...", scaled, inverse, scaled)


def _beyond(sums: Sequence[Sums], means: _Array, slopes: _Array, fit: Fit) -> _Array:
    """Return what each group's effects come to beyond the mean: see `population.deviations`."""
    by_group = [each.groups.stacked(each.axes) for each in sums if each.groups is not None]
    assert len(by_group) == len(sums), "sums of all methods are by group"
    n, _, d, w, _, wd, wr = np.moveaxis(by_group[0], 1, 0)
    pairs = np.stack([*(each[:, 1] for each in by_group), d])
    cells = np.stack([*(each[:, 4] for each in by_group), wd])
    effects = wr + by_group[0][:, 4]
    centre, slope = means[:-1, None], slopes[:, None]
    on_line = n * means[-1] + (slope * (pairs - n * centre)).sum(axis=0)
    left = effects - w * means[-1] - (slope * (cells - w * centre)).sum(axis=0)
    weight = ratio(sums[0]["n"], sums[0]["w"]) * np.sqrt(fit.inflation)
    result: _Array = on_line - n * fit.middle + left * weight
    return result
