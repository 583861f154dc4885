"""Intervals for the mean over the source of a job's pairs.

Beside what sampling cells leaves unknown there is what drawing the pairs does: s²/n, where pairs are
independent draws, s² = Σw (e - ē)² / Σw · k / (k - 1) with ē = Σwe / Σw and the names of `estimate`. That is
the variance of two-phase sampling (Särndal, Swensson and Wretman 1992, chapter 9); prediction-powered
inference (Angelopoulos et al. 2023, arXiv 2301.09633) has a similar term for measured cells that are not
among the scored ones.

Pairs of one template are not independent draws. Where pairs share groups, groups are: with T_g what the
effects of a group's pairs come to beyond the mean, the variance of the mean is Σ T_g² / n² · G / (G - 1),
sampling included (the ultimate cluster of Hansen, Hurwitz and Madow 1953; CR1 of Cameron and Miller 2015, "A
Practitioner's Guide to Cluster-Robust Inference"), with G - 1 degrees of freedom. Groups of unequal size
count as G = (Σn_g)² / Σn_g². It is never taken as less than the variance by sampling alone.
"""

import numpy as np
from numpy.typing import NDArray

from patchgrid.estimates.regression import Fit, ratio
from patchgrid.estimates.sums import Sums

_Array = NDArray[np.float64]


def between_pairs(sums: Sums) -> tuple[_Array, _Array]:
    """Return s²/n, the pairs being independent draws, and its degrees of freedom."""
    total = sums["w"]
    size = ratio(total**2, sums["ww"])
    e_mean = ratio(sums["wa"] + sums["wr"], total)
    spread = np.maximum(ratio(sums["waa"] + 2 * sums["war"] + sums["wrr"], total) - e_mean**2, 0)
    return ratio(spread * ratio(size, size - 1), sums["n"]), size - 1


def between_groups(sums: Sums, fit: Fit) -> tuple[_Array, _Array]:
    """Return the part of the variance that groups, as independent draws, have beyond sampling."""
    n, excess = deviations(sums, fit)
    squares, pairs = (n**2).sum(axis=0), n.sum(axis=0)
    # Groups of unequal size are as many as this of equal size.
    count = ratio(pairs**2, squares)
    variance = ratio((excess**2).sum(axis=0), pairs**2) * ratio(count, count - 1)
    return np.maximum(variance - fit.variance, 0), count - 1


def deviations(sums: Sums, fit: Fit) -> tuple[_Array, _Array]:
    """Return the pairs of each group, and what their effects come to beyond the mean, `[group, *axes]`."""
    assert sums.groups is not None, "these sums are not by group"
    assert fit.beyond is not None, "this fit is not by group"
    return sums.groups.stacked(sums.axes)[:, 0], fit.beyond


def added(sampling: _Array, known: _Array, between: _Array, freedom: _Array) -> tuple[_Array, _Array]:
    """Return the sum of two variances and its degrees of freedom (Satterthwaite 1946)."""
    variance = sampling + between
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(sampling > 0, sampling**2 / known, 0) + np.where(
            between > 0, between**2 / freedom, 0
        )
        together = variance**2 / parts
    return variance, np.where(np.isnan(sampling), known, together)
