"""Intervals for the population where pairs share groups, against written sums and repeated draws."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from patchgrid.estimates import Sums, estimate
from patchgrid.estimates.group_means import group_means
from patchgrid.estimates.group_sums import MOST_GROUPS

_Array = NDArray[np.float64]


def patched(
    scores: _Array, effects: _Array, groups: NDArray[np.int64], inclusion: float, seed: int = 0
) -> Sums:
    """Sum `[pair, component]` scores and effects, each cell drawn with this probability."""
    sums = Sums.zeros(scores.shape[1:], sampled=True, grouped=True)
    sums.add_pairs(scores, groups=groups)
    mask = np.random.default_rng(seed).random(scores.shape) < inclusion
    pairs, components = np.nonzero(mask)
    chances = np.full(len(pairs), inclusion)
    sums.add_cells((components,), scores[mask], effects[mask], chances, groups=groups[pairs])
    return sums


def templated(
    templates: int, pairs: int, seed: int, sizes: NDArray[np.int64] | None = None
) -> tuple[_Array, ...]:
    """Draw templates, and pairs of them, whose effects have mean 1 over all that can be drawn."""
    rng = np.random.default_rng(seed)
    groups = np.arange(pairs) % templates if sizes is None else np.repeat(np.arange(templates), sizes)
    shared = rng.normal(size=(templates, 20))[groups]
    scores = 0.8 + 0.3 * shared + 0.2 * rng.normal(size=shared.shape)
    effects = 1 + 0.5 * shared + 0.2 * rng.normal(size=shared.shape)
    return scores, effects, groups


def test_patched_whole_it_is_the_cluster_robust_interval_of_the_mean() -> None:
    """Σ_g (Σ (e - mean))² / n² G / (G - 1), with Student's t of G - 1 degrees of freedom."""
    scores, effects, groups = templated(6, 30, seed=0)
    known = estimate(patched(scores, effects, groups, 1.0), population=True)
    away = effects - effects.mean(axis=0)
    totals = np.stack([away[groups == group].sum(axis=0) for group in range(6)])
    variance = (totals**2).sum(axis=0) / 30**2 * 6 / 5
    np.testing.assert_allclose(known.ci_high - known.estimate, stats.t.ppf(0.975, 5) * np.sqrt(variance))
    np.testing.assert_allclose(known.estimate, effects.mean(axis=0))
    np.testing.assert_allclose(known.pairs_high, known.estimate)


def test_groups_of_one_pair_each_give_the_interval_of_independent_pairs() -> None:
    """With every pair patched the two formulas are one."""
    scores, effects, _ = templated(30, 30, seed=1)
    grouped = estimate(patched(scores, effects, np.arange(30), 1.0), population=True)
    sums = patched(scores, effects, np.arange(30), 1.0)
    alone = estimate(Sums(sums.values), population=True)
    np.testing.assert_allclose(grouped.ci_low, alone.ci_low)


@pytest.mark.parametrize("inclusion", [0.25, 1.0])
@pytest.mark.parametrize("sizes", [None, [24, 16, 12, 12, 10, 8, 6, 6, 4, 2]], ids=["even", "uneven"])
def test_it_covers_the_population_s_mean(inclusion: float, sizes: list[int] | None) -> None:
    """Ten templates of a hundred pairs: where pairs count as independent it covers 0.5 to 0.6 of the time."""
    held = {True: 0.0, False: 0.0}
    for seed in range(150):
        count = None if sizes is None else np.array(sizes)
        scores, effects, groups = templated(10, 100, seed, count)
        sums = patched(scores, effects, groups, inclusion, seed)
        for grouped in held:
            known = estimate(sums if grouped else Sums(sums.values), population=True)
            held[grouped] += ((known.ci_low <= 1) & (known.ci_high >= 1)).mean() / 150
    assert 0.92 <= held[True] <= 0.97
    assert held[False] < 0.75


def test_one_group_gives_no_interval_for_the_population() -> None:
    """The pairs' own stands."""
    scores, effects, _ = templated(5, 50, seed=2)
    known = estimate(patched(scores, effects, np.zeros(50, np.int64), 0.5), population=True)
    assert np.isnan(known.ci_low).all()
    assert np.isfinite(known.pairs_low).all()


def test_many_groups_are_summed_in_few() -> None:
    """Sums stay small, and intervals are those of the merged groups."""
    scores, effects, groups = templated(200, 400, seed=3)
    sums = patched(scores, effects, groups, 0.5)
    assert sums.groups is not None
    assert len(sums.groups.values) == MOST_GROUPS
    merged = estimate(patched(scores, effects, groups % MOST_GROUPS, 0.5), population=True)
    np.testing.assert_allclose(estimate(sums, population=True).ci_low, merged.ci_low)


def test_groups_add_up_over_chunks_and_later_rounds_take_away() -> None:
    """Positions grow as longer pairs come; what is added and taken away leaves what there was."""
    rng = np.random.default_rng(4)
    parts = []
    for tokens in (3, 5):
        sums = Sums.zeros((2, tokens), sampled=True, aligned=True, grouped=True)
        sums.add_pairs(rng.normal(size=(6, 2, tokens)), groups=np.array([0, 1, 2, 0, 1, 2]))
        index = np.array([0, 1]), np.array([tokens - 1, 0])
        sums.add_cells(index, np.ones(2), np.array([2.0, 3.0]), np.array([0.5, 1.0]), groups=np.array([1, 2]))
        parts.append(sums)
    together = parts[0] + parts[1]
    assert together.groups is not None
    stacked = together.groups.stacked(together.axes)
    for name, row in zip(("n", "a", "w", "wa", "wr"), (0, 1, 3, 4, 6), strict=True):
        np.testing.assert_allclose(stacked[:, row].sum(axis=0), together[name])
    together -= parts[0] + parts[1]
    assert np.allclose(together.groups.stacked(together.axes), 0)


def test_means_by_group_patched_whole_are_the_groups_own() -> None:
    """The spread is that of one-way analysis of variance."""
    scores, effects, groups = templated(6, 60, seed=5)
    found = group_means(patched(scores, effects, groups, 1.0))
    own = np.stack([effects[groups == group].mean(axis=0) for group in range(6)])
    np.testing.assert_allclose(found.mean, own)
    within = sum(((effects[groups == group] - own[group]) ** 2).sum(axis=0) for group in range(6)) / 54
    between = 10 * ((own - effects.mean(axis=0)) ** 2).sum(axis=0) / 5
    np.testing.assert_allclose(found.spread, np.sqrt((between - within) / 10), rtol=0.06)
    assert (found.p < 0.01).all()


@pytest.mark.parametrize("inclusion", [0.2, 0.5, 1.0])
def test_groups_that_do_not_differ_are_rarely_said_to(inclusion: float) -> None:
    """At most at the rate of the p-value; and intervals hold the groups' means."""
    small, held = 0.0, 0.0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        scores = 1 + 0.3 * rng.normal(size=(120, 20))
        effects = 1.2 * scores + 0.3 * rng.normal(size=scores.shape)
        found = group_means(patched(scores, effects, np.arange(120) % 8, inclusion, seed))
        small += (found.p < 0.05).mean() / 100
        held += ((found.ci_low <= 1.2) & (found.ci_high >= 1.2)).mean() / 100
    assert small <= 0.06
    assert 0.93 <= held <= 0.98


def test_differing_groups_have_intervals_that_hold_and_their_spread() -> None:
    """True means of groups spread by 0.5."""
    spread, held = 0.0, 0.0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        groups, own = np.arange(120) % 8, 1 + 0.5 * rng.normal(size=(8, 20))
        scores = own[groups] + 0.3 * rng.normal(size=(120, 20))
        effects = scores + 0.3 * rng.normal(size=scores.shape)
        found = group_means(patched(scores, effects, groups, 0.4, seed))
        held += ((found.ci_low <= own) & (found.ci_high >= own)).mean() / 100
        spread += (found.spread**2).mean() / 100
    assert np.sqrt(spread) == pytest.approx(0.5, rel=0.1)
    assert 0.93 <= held <= 0.98
