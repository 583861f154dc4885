"""Score against effect over cells: weighted correlations, lines, signs, and their standard errors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from patchgrid.estimates import Agreement, agreement

LINE = ("pearson", "slope", "intercept", "bias")
FIGURES = (*LINE, "sign_agreement", "spearman")


def cells(count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Make scores with ties, effects that follow them loosely, and inclusion probabilities."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.standard_t(3, count), 1)
    return scores, np.round(0.7 * scores + rng.normal(size=count) + 0.2, 1), rng.uniform(0.05, 1, count)


def matter(effects: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Choose cells by hand: the largest that carry 95 % of the sum of |effect|, equal ones together."""
    sizes = np.sort(np.abs(effects))[::-1]
    count = next(k for k in range(1, len(sizes) + 1) if sizes[:k].sum() >= 0.95 * sizes.sum() - 1e-9)
    return np.abs(effects) >= sizes[count - 1]


def test_with_equal_weights_it_is_scipy_and_polyfit() -> None:
    """A sample in which every cell counts the same needs no weights."""
    scores, effects, _ = cells(200)
    result = agreement(scores, effects, np.full(200, 0.3))
    slope, intercept = np.polyfit(scores, effects, 1)
    assert result.n == 200
    assert result.pearson == pytest.approx(stats.pearsonr(scores, effects).statistic)
    assert result.slope == pytest.approx(slope)
    assert result.intercept == pytest.approx(intercept)
    assert result.bias == pytest.approx((effects - scores).mean())
    own = matter(effects)
    assert (result.matter_n, result.matter_share) == (own.sum(), pytest.approx(own.mean()))
    assert 0 < own.sum() < 200
    assert result.spearman == pytest.approx(stats.spearmanr(scores[own], effects[own]).statistic)
    assert result.sign_agreement == pytest.approx((np.sign(scores) == np.sign(effects))[own].mean())


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), count=st.integers(3, 40))
def test_a_whole_weight_counts_as_that_many_cells(seed: int, count: int) -> None:
    """Repeating each cell as often as its weight says gives SciPy's unweighted figures."""
    scores, effects, _ = cells(count, seed)
    scores[:2], effects[:2] = (0, 1), (1, 0)
    weights = np.random.default_rng(seed + 1).integers(1, 6, count)
    result = agreement(scores, effects, 1 / weights)
    a, e = np.repeat(scores, weights), np.repeat(effects, weights)
    assert result.pearson == pytest.approx(stats.pearsonr(a, e).statistic, abs=1e-12)
    assert result.slope == pytest.approx(np.polyfit(a, e, 1)[0], abs=1e-9)
    own = matter(e)
    assert result.sign_agreement == pytest.approx((np.sign(a) == np.sign(e))[own].mean())
    if np.ptp(a[own]) > 0 and np.ptp(e[own]) > 0:
        assert result.spearman == pytest.approx(stats.spearmanr(a[own], e[own]).statistic, abs=1e-12)


def test_weights_undo_a_sample_that_prefers_large_scores() -> None:
    """Pearson, Spearman, slope and sign agreement of all cells come back from a lopsided 10 % of them."""
    rng = np.random.default_rng(5)
    scores = rng.normal(size=200_000)
    effects = np.where(np.abs(scores) > 1, scores, 0.3 * rng.normal(size=scores.size))
    inclusion = np.clip(0.02 + 0.1 * np.abs(scores) ** 2, 0, 1)
    mask = rng.random(scores.size) < inclusion
    everything = agreement(scores, effects, np.ones(scores.size))
    weighted = agreement(scores[mask], effects[mask], inclusion[mask])
    plain = agreement(scores[mask], effects[mask], np.ones(int(mask.sum())))
    for name in (*FIGURES, "matter_share"):
        assert getattr(weighted, name) == pytest.approx(getattr(everything, name), abs=0.02)
    assert abs(plain.pearson - everything.pearson) > 0.04
    assert abs(plain.spearman - everything.spearman) > 0.1


def of(scores: list[float], effects: list[float]) -> Agreement:
    """Compare cells of unequal weight."""
    return agreement(scores, effects, np.linspace(0.07, 0.9, len(scores)))


def test_nothing_sampled_leaves_every_figure_unknown() -> None:
    """No cells: n is 0 and the rest NaN, without a warning."""
    result = of([], [])
    assert (result.n, result.matter_n) == (0, 0)
    assert all(math.isnan(getattr(result, name)) for name in FIGURES)


def test_one_cell_has_a_sign_but_no_line() -> None:
    """Two figures need spread; agreement of signs does not."""
    result = of([0.3], [0.1])
    assert math.isnan(result.pearson)
    assert math.isnan(result.slope)
    assert result.sign_agreement == 1


def test_scores_without_spread_have_no_correlation() -> None:
    """The rounding of the mean of equal numbers is not mistaken for spread."""
    result = of([0.1] * 7, [0.3, 0.1, 0.2, 0.4, -0.1, 0.5, 0.9])
    assert math.isnan(result.pearson)
    assert math.isnan(result.spearman)
    assert math.isnan(result.slope)
    assert math.isnan(result.intercept)


def test_effects_without_spread_lie_on_a_flat_line() -> None:
    """No correlation, but a slope of 0."""
    result = of([0.3, 0.1, 0.2, 0.4], [0.7] * 4)
    assert math.isnan(result.pearson)
    assert result.slope == pytest.approx(0, abs=1e-12)
    assert result.intercept == pytest.approx(0.7)


def test_an_effect_of_zero_has_no_sign_and_a_score_of_zero_misses_one() -> None:
    """Positions before the prompts differ, all zeros, do not swell the agreement."""
    assert math.isnan(of([0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]).sign_agreement)
    scores, effects = np.array([0.0, 0.0, 1.0, -1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    assert agreement(scores, effects, np.ones(4)).sign_agreement == pytest.approx(1 / 3)


def test_figures_within_components_are_those_of_what_differs_from_each_components_mean() -> None:
    """Components of different size do not make a correlation; squares count by degrees of freedom."""
    rng = np.random.default_rng(2)
    component = np.repeat(np.arange(5), [3, 40, 40, 40, 40])
    level = np.array([90.0, 1, 5, 20, 30])[component]
    apart = rng.normal(size=len(component))
    scores, effects = level + apart, 2 * level - 0.5 * apart + 0.1 * rng.normal(size=len(component))
    result = agreement(scores, effects, np.full(len(scores), 0.2), component=component)
    sums = np.zeros(3)
    for each in range(5):
        a, e = scores[component == each], effects[component == each]
        covariance = np.cov(a, e) * len(a)
        sums += covariance[0, 0], covariance[0, 1], covariance[1, 1]
    assert result.within_slope == pytest.approx(sums[1] / sums[0])
    assert result.within_pearson == pytest.approx(sums[1] / math.sqrt(sums[0] * sums[2]))
    assert result.within_slope < 0 < result.slope


def test_a_standard_error_is_what_leaving_out_each_pair_says() -> None:
    """The jackknife, done by leaving out each pair's cells from arrays of cells."""
    scores, effects, inclusion = cells(240)
    pair = np.random.default_rng(3).integers(0, 20, 240)
    result = agreement(scores, effects, inclusion, pair)
    without = [
        agreement(*(x[pair != each] for x in (scores, effects, inclusion, pair))) for each in range(20)
    ]
    for name in FIGURES:
        values = np.array([getattr(each, name) for each in without])
        error = math.sqrt(19 / 20 * ((values - values.mean()) ** 2).sum())
        assert getattr(result, f"{name}_se") == pytest.approx(error)


def test_cells_of_one_pair_count_as_one_draw() -> None:
    """Ten cells alike in each pair: the error is that of the pairs, as if each had one of them."""
    scores, effects, inclusion = cells(60)
    once = agreement(scores, effects, inclusion)
    many = agreement(*(np.repeat(x, 10) for x in (scores, effects, inclusion)), np.repeat(np.arange(60), 10))
    alone = agreement(*(np.repeat(x, 10) for x in (scores, effects, inclusion)))
    for name in (*LINE, "spearman"):
        assert getattr(many, f"{name}_se") == pytest.approx(getattr(once, f"{name}_se"))
        assert getattr(alone, f"{name}_se") < 0.6 * getattr(once, f"{name}_se")


def test_standard_errors_are_the_spread_over_samples_of_pairs_and_cells() -> None:
    """Brute force: many draws of pairs, whose cells go together, and of cells; ties among the scores."""
    rng = np.random.default_rng(4)
    sizes = np.array([0.1, 0.5, 1.0, 2.0, 4.0])
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(300):
        shared = rng.normal(size=(80, 1))
        scores = np.round(sizes * (1 + 0.5 * shared + 0.3 * rng.normal(size=(80, 5))), 1)
        effects = 0.8 * scores + sizes * (0.3 * shared + 0.3 * rng.normal(size=scores.shape))
        chance = np.clip(0.2 + 0.1 * np.abs(scores), 0, 1)
        drawn = rng.random(scores.shape) < chance
        pair, component = np.nonzero(drawn)
        result = agreement(scores[drawn], effects[drawn], chance[drawn], pair, component)
        for name in (*FIGURES, "within_pearson", "within_slope"):
            found.setdefault(name, []).append((getattr(result, name), getattr(result, f"{name}_se")))
    for name, draws in found.items():
        values, errors = np.array(draws).T
        assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.2), name


def test_a_pair_alone_gives_no_standard_error() -> None:
    """And signs that all agree leave some doubt."""
    scores, effects, inclusion = cells(20)
    alone = agreement(scores, effects, inclusion, np.zeros(20))
    assert all(math.isnan(getattr(alone, f"{name}_se")) for name in (*LINE, "spearman"))
    sure = agreement(np.ones(50), np.ones(50), np.ones(50))
    assert (sure.sign_agreement, sure.sign_agreement_se) == (1, pytest.approx(0.0140, abs=1e-3))
