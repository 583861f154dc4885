"""How well scores agree with exact effects, over the sampled cells of a site."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from patchgrid.estimates.verification.clusters import jackknife, left_out_error, totals

#: Part of the sum of |effect| that the cells which matter carry together.
MATTER = 0.95
#: A sum of squares about the mean that is a smaller part of the raw sum than this is rounding, not spread.
_ROUNDING = 1e-13
#: Least effective number of a component's cells that tell how they differ from one another.
_LEAST = 2.0
#: Groups of pairs that are left out in turn for figures that need another sort of the cells.
_GROUPS = 20

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of score and effect over all cells, with standard errors (`_se`).

    It is estimated from the sampled cells, each with the weight 1 / inclusion. A figure that they do not
    determine (none of them, one alone, no spread) is NaN. Standard errors are for the population of the pairs
    (`clusters.jackknife`).
    """

    #: Sampled cells.
    n: int
    #: Pearson correlation over all cells.
    pearson: float
    pearson_se: float
    #: Slope of the least-squares line of effect on score over all cells.
    slope: float
    slope_se: float
    #: Intercept of that line, in metric units.
    intercept: float
    intercept_se: float
    #: Mean of effect - score, in metric units.
    bias: float
    bias_se: float
    #: Pearson correlation within components: of what differs from a component's own mean.
    within_pearson: float
    within_pearson_se: float
    #: Slope within components.
    within_slope: float
    within_slope_se: float
    #: Sampled cells that matter: those of largest |effect| that carry `MATTER` of the sum of |effect|.
    matter_n: int
    #: Share of all cells that matter.
    matter_share: float
    #: Share of the cells that matter whose score has the effect's sign; a score of 0 does not.
    sign_agreement: float
    sign_agreement_se: float
    #: Spearman rank correlation over the cells that matter.
    spearman: float
    spearman_se: float


def agreement(
    scores: ArrayLike,
    effects: ArrayLike,
    inclusion: ArrayLike,
    pair: ArrayLike | None = None,
    component: ArrayLike | None = None,
) -> Agreement:
    """Compare the scores and effects of sampled cells, arrays with an entry a cell.

    The weights 1 / inclusion undo the sample's preference for some cells, so that the figures are for all
    cells. `pair` says which cells depend on one another (None: none does), `component` which belong to one
    component (None: figures within components are NaN). Spearman is Pearson on weighted midranks: the weight
    of all smaller cells plus half the weight of the equal ones.

    Most cells of a site are near 0, and whether these have the sign or the rank of their scores is of no
    interest: signs and ranks are of the cells that matter. A share of the sum of |effect| needs no unit, no
    threshold to choose, and is the same for shares of a difference.
    """
    a, e, pi = (np.asarray(x, np.float64).ravel() for x in (scores, effects, inclusion))
    assert ((pi > 0) & (pi <= 1)).all(), "an inclusion probability is not in (0, 1]"
    w = 1 / pi
    of = np.arange(len(a)) if pair is None else np.asarray(pair).ravel()
    matter = _Matter(a, e)
    cells = matter.cells(w)
    return Agreement(
        n=len(a),
        matter_n=int(cells.sum()),
        matter_share=float(w[cells].sum() / w.sum()) if len(a) else math.nan,
        **_pooled(a, e, w, of),
        **_within(a, e, w, of, component),
        **matter.figures(w, of),
    )


def _pooled(a: _Array, e: _Array, w: _Array, of: NDArray[Any]) -> dict[str, float]:
    names = ("pearson", "slope", "intercept", "bias")
    if not len(a):
        return _named(names, np.full(4, np.nan), np.full(4, np.nan))
    # About the means, or what is left of a sum without one pair would be rounding.
    middle_a, middle_e = (w * a).sum() / w.sum(), (w * e).sum() / w.sum()
    da, de = _about(a, middle_a), _about(e, middle_e)

    def figures(sums: _Array) -> _Array:
        total, wa, we, waa, wae, wee = np.moveaxis(sums, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            wa, we = wa / total, we / total
            pearson, slope = _line(waa / total - wa**2, wae / total - wa * we, wee / total - we**2)
        bias = we - wa + middle_e - middle_a
        return np.stack([pearson, slope, we + middle_e - slope * (wa + middle_a), bias], axis=-1)

    rows = np.stack([w, w * da, w * de, w * da**2, w * da * de, w * de**2], axis=1)
    return _named(names, *jackknife(figures, totals(of, rows)))


def _within(
    a: _Array, e: _Array, w: _Array, of: NDArray[Any], component: ArrayLike | None
) -> dict[str, float]:
    """Compare what differs from a component's own means.

    Squares about a mean from the same k cells are too small by (k - 1) / k, k Kish's effective number.
    """
    names = ("within_pearson", "within_slope")
    if component is None or not len(a):
        return _named(names, np.full(2, np.nan), np.full(2, np.nan))
    _, place = np.unique(np.asarray(component).ravel(), return_inverse=True)
    total, squares, wa, we = (np.bincount(place, row) for row in (w, w * w, w * a, w * e))
    size = total**2 / squares
    enough = size >= _LEAST
    factor = np.where(enough, size / np.where(enough, size - 1, 1), 0.0)[place]
    da, de = _rounded_off(a - (wa / total)[place], a), _rounded_off(e - (we / total)[place], e)
    rows = np.stack([da**2, da * de, de**2], axis=1) * (w * factor)[:, None]

    def figures(sums: _Array) -> _Array:
        return np.stack(_line(*np.moveaxis(sums, -1, 0)), axis=-1)

    return _named(names, *jackknife(figures, totals(of, rows)))


class _Matter:
    """Signs and ranks of the cells that matter, for any weights: what is sorted is sorted once."""

    def __init__(self, a: _Array, e: _Array) -> None:
        self._size = np.abs(e)
        self._order = np.argsort(-self._size, kind="stable")
        self._same = np.sign(a) == np.sign(e)
        self._ranks = [np.unique(x, return_inverse=True)[1] for x in (a, e)]

    def cells(self, w: _Array) -> NDArray[np.bool_]:
        """Choose the cells of largest |effect| that carry `MATTER` of its sum; equal ones together."""
        carried = np.cumsum((w * self._size)[self._order])
        if not len(w) or carried[-1] <= 0:
            return np.zeros(len(w), bool)
        least = self._size[self._order[np.searchsorted(carried, MATTER * carried[-1])]]
        chosen: NDArray[np.bool_] = (self._size >= least) & (self._size > 0) & (w > 0)
        return chosen

    def figures(self, w: _Array, of: NDArray[Any]) -> dict[str, float]:
        """Return the figures, with errors from leaving out groups of pairs."""
        value = self._values(w)
        _, pair = np.unique(of, return_inverse=True)
        count = int(pair.max(initial=-1)) + 1
        group = pair % _GROUPS
        without = [self._values(np.where(group == each, 0.0, w)) for each in range(min(count, _GROUPS))]
        error = left_out_error(np.array(without).reshape(-1, 2))
        size = w.sum() ** 2 / (w * w).sum() if len(w) else math.nan
        # A sample in which all signs agree does not say that all do: as if half a cell more did not.
        share = (value[0] * size + 0.5) / (size + 1)
        error[0] = np.fmax(error[0], np.sqrt(share * (1 - share) / size))
        return _named(("sign_agreement", "spearman"), value, error)

    def _values(self, w: _Array) -> _Array:
        cells = self.cells(w)
        w = np.where(cells, w, 0.0)
        total = w.sum()
        if total <= 0:
            return np.full(2, np.nan)
        # Spearman is Pearson on midranks; these have the mean total / 2.
        x, y = (_midranks(rank, w) - total / 2 for rank in self._ranks)
        x, y = (_about(each[cells], 0.0) for each in (x, y))
        w = w[cells]
        pearson, _ = _line((w * x * x).sum(), (w * x * y).sum(), (w * y * y).sum())
        return np.array([w[self._same[cells]].sum() / total, float(pearson)])


def _line(sxx: ArrayLike, sxy: ArrayLike, syy: ArrayLike) -> tuple[_Array, _Array]:
    """Return correlation and slope from the weighted sums of squares and products about the means."""
    xx, xy, yy = (np.asarray(each, np.float64) for each in (sxx, sxy, syy))
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(xx > 0, xy / xx, np.nan)
        pearson = np.where((xx > 0) & (yy > 0), xy / (np.sqrt(xx) * np.sqrt(yy)), np.nan)
    return np.clip(pearson, -1, 1), slope


def _about(x: _Array, middle: float) -> _Array:
    """Subtract the mean; exact zeros where there is no spread, whatever the mean's rounding."""
    return x - middle if np.ptp(x) > 0 else np.zeros_like(x)


def _rounded_off(difference: _Array, x: _Array) -> _Array:
    """Take differences from a mean for 0 that are its rounding."""
    return np.where(np.abs(difference) > _ROUNDING * np.abs(x), difference, 0.0)


def _midranks(rank: NDArray[Any], w: _Array) -> _Array:
    """Return weighted midranks: the weight of all that rank below, and half of that of the equal ones."""
    weight = np.bincount(rank, w)
    ranks: _Array = (np.cumsum(weight) - weight / 2)[rank]
    return ranks


def _named(names: tuple[str, ...], values: _Array, errors: _Array) -> dict[str, float]:
    """Return figures and their standard errors by name."""
    return dict(zip(names, values.tolist(), strict=True)) | dict(
        zip((f"{name}_se" for name in names), errors.tolist(), strict=True)
    )
