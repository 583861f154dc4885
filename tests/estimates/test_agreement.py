"""Score against effect: weighted correlations, line, sign agreement, overlap of the top."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from patchgrid.estimates import Agreement, Sums, agreement, site_agreement, top_overlap

FIGURES = ("pearson", "slope", "intercept", "sign_agreement", "bias")


def cells(count: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Make scores with ties, effects that follow them loosely, and inclusion probabilities."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.standard_t(3, count), 1)
    return scores, np.round(0.7 * scores + rng.normal(size=count) + 0.2, 1), rng.uniform(0.05, 1, count)


def figures(result: Agreement) -> dict[str, float]:
    """Take the figures that sums can give too."""
    return {name: getattr(result, name) for name in FIGURES}


def test_with_equal_weights_it_is_scipy_and_polyfit() -> None:
    """A sample in which every cell counts the same needs no weights."""
    scores, effects, _ = cells(200)
    result = agreement(scores, effects, np.full(200, 0.3))
    slope, intercept = np.polyfit(scores, effects, 1)
    assert result.n == 200
    assert result.pearson == pytest.approx(stats.pearsonr(scores, effects).statistic)
    assert result.spearman == pytest.approx(stats.spearmanr(scores, effects).statistic)
    assert result.slope == pytest.approx(slope)
    assert result.intercept == pytest.approx(intercept)
    assert result.sign_agreement == pytest.approx((np.sign(scores) == np.sign(effects))[effects != 0].mean())


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
    assert result.spearman == pytest.approx(stats.spearmanr(a, e).statistic, abs=1e-12)
    assert result.slope == pytest.approx(np.polyfit(a, e, 1)[0], abs=1e-9)
    assert result.sign_agreement == pytest.approx((np.sign(a) == np.sign(e))[e != 0].mean())


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
    for name in (*FIGURES, "spearman"):
        assert getattr(weighted, name) == pytest.approx(getattr(everything, name), abs=0.02)
    assert abs(plain.pearson - everything.pearson) > 0.04
    assert abs(plain.sign_agreement - everything.sign_agreement) > 0.1


def test_sums_alone_give_the_same_figures_but_for_ranks() -> None:
    """A site's components are pooled, as the rows would be."""
    scores, effects, inclusion = cells(300)
    sums = Sums.zeros((3, 4), sampled=True)
    index = np.unravel_index(np.random.default_rng(1).integers(0, 12, 300), (3, 4))
    sums.add_cells(index, scores, effects, inclusion)
    result = site_agreement(sums)
    assert result.n == 300
    assert math.isnan(result.spearman)
    assert figures(result) == pytest.approx(figures(agreement(scores, effects, inclusion)))


def from_rows_and_sums(scores: list[float], effects: list[float]) -> tuple[Agreement, Agreement]:
    """Compare cells of unequal weight both ways."""
    a, e, inclusion = np.array(scores), np.array(effects), np.linspace(0.07, 0.9, len(scores))
    sums = Sums.zeros((1,), sampled=True)
    sums.add_cells((np.zeros(len(a), np.int64),), a, e, inclusion)
    return agreement(a, e, inclusion), site_agreement(sums)


def test_nothing_sampled_leaves_every_figure_unknown() -> None:
    """No cells: n is 0 and the rest NaN, without a warning."""
    for result in from_rows_and_sums([], []):
        assert result.n == 0
        assert all(math.isnan(value) for value in (*figures(result).values(), result.spearman))


def test_one_cell_has_a_sign_but_no_line() -> None:
    """Two figures need spread; agreement of signs does not."""
    for result in from_rows_and_sums([0.3], [0.1]):
        assert math.isnan(result.pearson)
        assert math.isnan(result.slope)
        assert result.sign_agreement == 1


def test_scores_without_spread_have_no_correlation() -> None:
    """The rounding of the mean of equal numbers is not mistaken for spread."""
    for result in from_rows_and_sums([0.1] * 7, [0.3, 0.1, 0.2, 0.4, -0.1, 0.5, 0.9]):
        assert math.isnan(result.pearson)
        assert math.isnan(result.spearman)
        assert math.isnan(result.slope)
        assert math.isnan(result.intercept)


def test_effects_without_spread_lie_on_a_flat_line() -> None:
    """No correlation, but a slope of 0."""
    for result in from_rows_and_sums([0.3, 0.1, 0.2, 0.4], [0.7] * 4):
        assert math.isnan(result.pearson)
        assert result.slope == pytest.approx(0, abs=1e-12)
        assert result.intercept == pytest.approx(0.7)


def test_an_effect_of_zero_has_no_sign_and_a_score_of_zero_misses_one() -> None:
    """Positions before the prompts differ, all zeros, do not swell the agreement."""
    for result in from_rows_and_sums([0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]):
        assert math.isnan(result.sign_agreement)
    scores, effects = np.array([0.0, 0.0, 1.0, -1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    assert agreement(scores, effects, np.ones(4)).sign_agreement == pytest.approx(1 / 3)


def test_top_overlap_is_the_share_of_the_top_that_both_have() -> None:
    """By absolute value, over any axes."""
    mean = np.array([[5.0, -4.0, 3.0], [2.0, 1.0, 0.0]])
    estimate = np.array([[-5.0, 0.0, 4.0], [3.0, 0.1, 0.2]])
    assert top_overlap(mean, estimate, 1) == 1
    assert top_overlap(mean, estimate, 2) == 0.5
    assert top_overlap(mean, estimate, 4) == 0.75
    assert top_overlap(mean, mean, 3) == 1


def test_top_overlap_leaves_out_components_without_an_estimate() -> None:
    """An unsampled component is no disagreement."""
    assert top_overlap([9.0, 2.0, 1.0], [math.nan, 2.0, 1.0], 1) == 1
    assert math.isnan(top_overlap([9.0], [math.nan], 1))


@pytest.mark.parametrize("k", [3, 4, 50])
def test_top_overlap_of_all_components_is_not_told(k: int) -> None:
    """The k largest of at most k are the same by any figure: 4 of 4 says nothing of the scores."""
    assert math.isnan(top_overlap([9.0, 2.0, 1.0], [1.0, 2.0, 9.0], k))
    assert math.isnan(top_overlap([9.0, 2.0, 1.0, 5.0], [1.0, 2.0, 9.0, math.nan], k))
