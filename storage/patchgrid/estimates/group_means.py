"""Mean effects by group of pairs: how far groups differ, and whether by more than chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from patchgrid.estimates.population import added, between_pairs, deviations
from patchgrid.estimates.regression import fitted, ratio
from patchgrid.estimates.sums import Sums

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GroupMeans:
    """Of each component and group `[group, *axes]`, or of each component `[*axes]`; NaN where unknown."""

    #: Pairs of the group that have the component.
    n: _Array
    #: Mean effect over the group's pairs, and the ends of its 95 % interval for all pairs of that kind.
    mean: _Array
    ci_low: _Array
    ci_high: _Array
    #: Standard deviation of the groups' true means, by component; 0 where they differ as by chance.
    spread: _Array
    #: Chance of groups that differ so much if their true means are the same, by component.
    p: _Array


def group_means(sums: Sums, level: float = 0.95) -> GroupMeans:
    """Estimate each group's mean effect from sums by group.

    The mean of group g is the job's estimate plus T_g / n_g (see `population`). Were groups alike, it would
    vary by v / n_g, v = n V, V the variance of the job's estimate for the population of independent pairs: so
    B = Σ n_g (mean_g - mean)² / (G - 1) over v is F-distributed, with G - 1 degrees of freedom and those of
    V. The test errs toward none found, as v has part of the differences between groups.

    Their variance τ² is (B - v) / (n₀ - c), by components of variance of one-way classification (Searle,
    Casella and McCulloch 1992, chapter 4): n₀ = (n - Σ n_g² / n) / (G - 1), and c = 1 - Σ (n_g / n)², the
    part of τ² that v has. Intervals are Student's t, from v - c τ² over n_g.
    """
    assert sums.groups is not None, "these sums are not by group"
    fit = fitted(sums, ratio(sums["a"], sums["n"]))
    n, beyond = deviations(sums, fit)
    total, groups = n.sum(axis=0), (n > 0).sum(axis=0).astype(np.float64)
    away = ratio(beyond, n)
    variance, freedom = added(fit.variance, fit.freedom, *between_pairs(sums))
    v = variance * total
    between = ratio(np.nansum(n * away**2, axis=0), groups - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = special.fdtrc(groups - 1, freedom, between / v)
    share = 1 - ratio((n**2).sum(axis=0), total**2)
    size = ratio(total * share, groups - 1)
    squares = np.maximum(ratio(between - v, size - share), 0)
    within = np.maximum(v - share * squares, fit.variance * total)
    half = special.stdtrit(freedom, (1 + level) / 2) * np.sqrt(ratio(np.broadcast_to(within, n.shape), n))
    middle = np.where(n > 0, fit.middle + away, np.nan)
    known = np.isfinite(variance) & (groups > 1)
    return GroupMeans(
        n=n,
        mean=middle,
        ci_low=middle - half,
        ci_high=middle + half,
        spread=np.where(known, np.sqrt(squares), np.nan),
        p=np.where(known & (v > 0), p, np.nan),
    )
