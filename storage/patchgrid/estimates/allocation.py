"""How many cells of each component are patched exactly: more where its scores leave more unexplained.

A component's mean effect is known as well as its *residuals* are small: what is left of its effects once
score and total effect are accounted for. Before anything else, a few cells of every component are patched in
the job's pilot pairs; they tell how large its residuals are, and the budget goes by that: Neyman's allocation
(Särndal, Swensson and Wretman 1992, "Model Assisted Survey Sampling", section 3.7.3). These cells make the
plan and nothing else: estimates use others, so that a plan made from lucky cells cannot bias them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.estimates.moderation import moderated
from patchgrid.estimates.regression import residuals
from patchgrid.estimates.sampling import fitted, pilot_rows, pilot_scales, uniform
from patchgrid.estimates.sums import Sums

#: Expected cells of each component that are patched in the pilot.
PILOT_DRAWS = 8.0
#: Part of the budget that goes to all components alike, at most.
ALIKE_PART = 0.25
#: Fewest cells of a component in the budget with which a plan is made: with fewer, the pilot takes too many.
ENOUGH = 30.0
#: Expected draws of each component whatever its residuals, where the budget has as many.
LEAST = 8.0
#: Halvings of the interval that holds the solution.
_STEPS = 60

_Array = NDArray[np.float64]


def pilot_share(share: float, pairs: int) -> float:
    """Return the share of the pilot's cells that is patched there, for a job that patches `share` of its own.

    0 where the budget is too small for a plan, and where nothing or everything is patched.
    """
    if not 0 < share < 1 or share * pairs < ENOUGH:
        return 0.0
    return min(1.0, PILOT_DRAWS / len(pilot_rows(pairs)))


def inclusion(scores: NDArray[Any], shares: _Array, scales: _Array) -> _Array:
    """Return the probability with which each cell is patched, for a given share of each component's cells.

    p = q (1 - b + b |a| / s), q the share, s the component's mean |score|, b = (1 - q) / 2: half even, half
    by size where few cells are patched, and even where nearly all are. Never above 1.

    `scores` are `[pair, *axes]`; the others broadcast against them.
    """
    by_size = (1 - shares) / 2
    result: _Array = np.minimum(
        1.0, shares * (1 - by_size + by_size * np.abs(scores, dtype=np.float64) / scales)
    )
    return result


def sample_allocated(
    scores: NDArray[Any],
    *,
    shares: _Array,
    scales: _Array,
    seed: int,
    site: str,
    rows: Sequence[int],
    present: NDArray[np.bool_] | None = None,
    stream: int = 0,
) -> tuple[NDArray[np.bool_], _Array]:
    """Choose the cells of several pairs, as `sample_many`; return mask and inclusion probabilities."""
    probability = inclusion(scores, shares, scales)
    if present is not None:
        probability = np.where(present, probability, 0.0)
    numbers = uniform(seed, site, rows, math.prod(scores.shape[1:]), stream)
    return numbers.reshape(scores.shape) < probability, probability


def allocate(pilots: Mapping[str, Sums], *, share: float, pairs: int) -> dict[str, _Array]:
    """Return the share of each component's cells to patch, by site, `[*axes]` of the site's pilot sums.

    With sd the component's residual standard deviation, moderated (below), its share is min(1, l + c sd), l =
    `LEAST` draws, c such that `share` of all cells is patched, what was patched in the pilot included.

    The residual variance from k cells (less the coefficients) is moderated to (k v + 4 t) / (k + 4), where t
    is a trend over all components, log-linear in their mean |score|: eight cells say little by themselves.

    `pilots` are sums over the pilot's pairs with cells patched there; sites without any pair are left out.
    """
    known = {site: sums for site, sums in pilots.items() if sums.values[0].size and sums["n"].any()}
    if not known:
        return {}
    scales, sizes, variances, freedoms = (
        np.concatenate(parts) for parts in zip(*(_known(sums) for sums in known.values()), strict=True)
    )
    spread = np.sqrt(moderated(scales, variances, freedoms))
    in_pilot = pilot_share(share, pairs) * len(pilot_rows(pairs)) / pairs
    budget = max(0.0, share - in_pilot) * sizes.sum()
    least = min(LEAST / pairs, ALIKE_PART * share)
    shares = _within(lambda own: np.minimum(1.0, least + own), spread, sizes, budget)
    ends = np.cumsum([sums.values[0].size for sums in known.values()])[:-1]
    parts = np.split(shares, ends)
    return {site: part.reshape(sums.axes) for (site, sums), part in zip(known.items(), parts, strict=True)}


def top_up(totals: Mapping[str, Sums], extra: float) -> dict[str, _Array]:
    """Return the share of each component's cells to patch in addition, `extra` of all cells together.

    `totals` are the job's sums by site. As `allocate`, from all cells patched so far: a component's cells in
    all, former and new, are in proportion to its moderated residual standard deviation where it has fewer.
    Returned is the chance q of the new draw, such that 1 - (1 - share so far)(1 - q) is the share in all.
    """
    known = {site: sums for site, sums in totals.items() if sums.values[0].size and sums["n"].any()}
    scales, sizes, variances, freedoms = (
        np.concatenate(parts) for parts in zip(*(_known(sums) for sums in known.values()), strict=True)
    )
    spread = np.sqrt(moderated(scales, variances, freedoms))
    cells = np.concatenate(
        [(sums["m"] if sums.sampled else 0 * sums["n"]).ravel() for sums in known.values()]
    )
    now = np.divide(cells, sizes, out=np.ones_like(sizes), where=sizes > 0)
    budget = cells.sum() + extra * sizes.sum()
    wanted = _within(lambda own: np.maximum(now, np.minimum(1.0, own)), spread, sizes, budget)
    added = np.divide(wanted - now, 1 - now, out=np.zeros_like(now), where=now < 1)
    ends = np.cumsum([sums.values[0].size for sums in known.values()])[:-1]
    parts = np.split(added, ends)
    return {site: part.reshape(sums.axes) for (site, sums), part in zip(known.items(), parts, strict=True)}


def shares_on(shares: _Array, axes: Sequence[int], otherwise: float) -> _Array:
    """Return shares for components of these axes: `otherwise` for positions that the pilot does not have."""
    result = fitted(shares, axes)
    return np.where(np.isnan(result), otherwise, result)


def _known(sums: Sums) -> tuple[_Array, _Array, _Array, _Array]:
    """Return of each component: mean |score|, pairs, residual variance and its degrees of freedom."""
    variance, freedom = residuals(sums)
    return pilot_scales(sums, sums.axes).ravel(), sums["n"].ravel(), variance.ravel(), freedom.ravel()


def _within(shares_at: Callable[[_Array], _Array], spread: _Array, sizes: _Array, budget: float) -> _Array:
    """Return the shares that take the budget: `shares_at` of a multiple of `spread`, which it grows with."""

    def taken(factor: float) -> float:
        return float((sizes * shares_at(factor * spread)).sum())

    low, high = 0.0, 1.0 / float(spread[spread > 0].min()) if spread.any() else 0.0
    if taken(low) >= budget:
        return shares_at(low * spread)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if taken(middle) < budget else (low, middle)
    return shares_at(high * spread)
