"""The estimate from several methods' scores, against NumPy's least squares on the cells themselves."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from patchgrid.estimates import Estimates, Sums, estimate
from patchgrid.estimates.combined import combined, has_combined
from patchgrid.estimates.regression import Fit, fitted

PAIRS, COMPONENTS = 400, 3
Floats = NDArray[np.float64]


def drawn(seed: int, rate: float = 0.3) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return regressors `[2 methods and d, pair, component]`, effects, chances and the sampled cells."""
    rng = np.random.default_rng(seed)
    a, d = rng.normal(1, 1, size=(PAIRS, COMPONENTS)), rng.normal(5, 1, size=PAIRS)
    b = a**2 + rng.normal(size=a.shape)
    x = np.stack([a, b, np.broadcast_to(d[:, None], a.shape)])
    effects = 0.3 + 0.5 * a + 0.7 * b + 0.2 * x[2] + 0.3 * rng.normal(size=a.shape)
    chances = np.clip(rate * (0.5 + 0.5 * np.abs(a)), 0, 1)
    return x, effects, chances, rng.random(a.shape) < chances


def added(
    x: Floats,
    effects: Floats,
    chances: Floats,
    mask: NDArray[np.bool_],
    groups: NDArray[np.int64] | None = None,
) -> list[Sums]:
    """Return the sums of each method, as chunks commit them."""
    found = []
    for place, scores in enumerate(x[:-1]):
        sums = Sums.zeros((COMPONENTS,), sampled=True, grouped=groups is not None, crosses=place)
        sums.add_pairs(scores, total_effects=x[-1, :, 0], groups=groups)
        rows, component = np.nonzero(mask)
        sums.add_cells(
            (component,),
            scores[mask],
            effects[mask],
            chances[mask],
            x[-1][mask],
            groups=None if groups is None else groups[rows],
            others=x[:place, mask],
        )
        found.append(sums)
    return found


def fit_of(sums: list[Sums]) -> Fit:
    """Fit the line in all methods' scores."""
    assert has_combined(sums)
    return combined(sums, fitted(sums[0], sums[0]["a"] / sums[0]["n"]))


def together(sums: list[Sums], **options: bool) -> Estimates:
    """Estimate from all methods."""
    return estimate(sums[0], others=sums[1:], **options)


def test_it_is_the_weighted_least_squares_line_at_the_means_of_all_pairs() -> None:
    """With its variance from the residuals of that line, but for what moderates it."""
    x, effects, chances, mask = drawn(1)
    sums = added(x, effects, chances, mask)
    found = fit_of(sums)
    for each in range(COMPONENTS):
        here = mask[:, each]
        w, regressors = 1 / chances[here, each], x[:, here, each].T
        design, root = np.column_stack([np.ones(len(w)), regressors]), np.sqrt(1 / chances[here, each])
        line, *_ = np.linalg.lstsq(design * root[:, None], effects[here, each] * root, rcond=None)
        middle = x[:, :, each].mean(axis=1)
        assert found.middle[each] == pytest.approx(np.r_[1, middle] @ line, rel=1e-6)
        left, size = effects[here, each] - design @ line, w.sum() ** 2 / (w**2).sum()
        away = middle - np.average(regressors, axis=0, weights=w)
        leverage = away @ np.linalg.solve(np.cov(regressors.T, aweights=w, ddof=0), away)
        v = (1 - 1 / w) * w**2
        variance = (v * left**2).sum() / w.sum() ** 2 * (size / (size - 4)) ** 2 * (1 + leverage)
        # The trend, of residuals ten times as large, counts as 0.15 of about a hundred cells.
        assert found.variance[each] == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize("factor", [1.0, -3.0, 0.0])
def test_scores_in_proportion_give_what_one_of_them_gives(factor: float) -> None:
    """The estimate of one method: a second one that says nothing new is no harm, nor one that is all zero."""
    x, effects, chances, mask = drawn(2)
    sums = added(np.stack([x[0], factor * x[0], x[2]]), effects, chances, mask)
    np.testing.assert_allclose(together(sums).estimate, estimate(sums[0]).estimate, rtol=1e-4)


def test_where_cells_are_few_the_first_methods_estimate_stands() -> None:
    """Fewer effective cells than four for each coefficient, none at all, or all of them."""
    x, effects, chances, mask = drawn(3)
    mask[:, 0] &= np.cumsum(mask[:, 0]) <= 12
    mask[:, 1] = False
    sums = added(x, effects, chances, mask)
    both, one = together(sums), estimate(sums[0])
    np.testing.assert_array_equal(both.estimate[:2], one.estimate[:2])
    assert abs(both.estimate[2] - one.estimate[2]) > 1e-3
    whole = added(x, effects, np.ones_like(chances), np.ones_like(mask))
    np.testing.assert_array_equal(together(whole).ci_low, estimate(whole[0]).ci_low)


def test_sums_from_before_give_the_first_methods_estimate() -> None:
    """They lack the products of different methods' scores."""
    x, effects, chances, mask = drawn(3)
    sums = added(x, effects, chances, mask)
    plain = Sums(sums[1].values[: len(sums[0].values)])
    assert not has_combined([sums[0], plain])
    np.testing.assert_array_equal(together([sums[0], plain]).estimate, estimate(sums[0]).estimate)


def test_a_second_method_that_explains_more_lowers_the_error() -> None:
    """In replays, and intervals hold as often as they say."""
    x, effects, chances, _ = drawn(4)
    truth, errors, alone, held = effects.mean(axis=0), [], [], []
    for seed in range(200):
        sums = added(x, effects, chances, np.random.default_rng(seed).random(chances.shape) < chances)
        both = together(sums)
        errors.append(both.estimate - truth)
        alone.append(estimate(sums[0]).estimate - truth)
        held.append((both.ci_low <= truth) & (truth <= both.ci_high))
    assert np.square(errors).mean() < 0.2 * np.square(alone).mean()
    assert 0.92 <= np.mean(held) <= 0.98


def test_intervals_for_the_population_hold_with_and_without_groups() -> None:
    """Pairs drawn anew each time, on their own or in ten templates that shift scores and effects."""
    held = {False: 0.0, True: 0.0}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, effects, chances, mask = drawn(seed + 1000)
        groups = np.arange(PAIRS) % 10
        shift = 0.5 * rng.normal(size=(10, COMPONENTS))[groups]
        # E effect = 0.3 + 0.5 + 0.7 (E a² = 2) + 0.2 · 5.
        for grouped in held:
            shifted = effects + shift * grouped
            sums = added(x, shifted, chances, mask, groups if grouped else None)
            known = together(sums, population=True)
            held[grouped] += ((known.ci_low <= 3.2) & (known.ci_high >= 3.2)).mean() / 200
    assert all(0.92 <= share <= 0.98 for share in held.values()), held


def test_groups_patched_whole_but_for_one_cell_have_the_cluster_robust_interval() -> None:
    """With nearly every cell patched it is that of the effects' own mean."""
    x, effects, _, _ = drawn(7)
    mask, chances = np.ones((PAIRS, COMPONENTS), np.bool_), np.full((PAIRS, COMPONENTS), 0.9999)
    groups = np.arange(PAIRS) % 8
    known = together(added(x, effects, chances, mask, groups), population=True)
    away = effects - effects.mean(axis=0)
    totals = np.stack([away[groups == group].sum(axis=0) for group in range(8)])
    error = np.sqrt((totals**2).sum(axis=0) / PAIRS**2 * 8 / 7)
    np.testing.assert_allclose(known.ci_high - known.estimate, stats.t.ppf(0.975, 7) * error, rtol=0.01)
