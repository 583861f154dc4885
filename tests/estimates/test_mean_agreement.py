"""Mean scores against estimated mean effects, and top lists by both."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from patchgrid.estimates import Cells, MeanAgreement, Sums, estimate, mean_agreement, top_agreement

SIZES = np.geomspace(0.05, 4, 12) * np.resize([1, -1, 1], 12)
Floats = NDArray[np.float64]


def population(pairs: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw pairs: scores and effects `[pair, component]`, which a pair's strength moves together."""
    shared = rng.normal(size=(pairs, 1))
    scores = SIZES * (1 + 0.4 * shared + 0.3 * rng.normal(size=(pairs, 12)))
    apart = np.linspace(0.5, 1.5, 12) * (1 + 0.2 * shared) + 0.4 * rng.normal(size=(pairs, 12))
    return scores, scores * apart


def sampled(scores: Floats, effects: Floats, chance: float, rng: np.random.Generator) -> MeanAgreement:
    """Patch some cells and compare."""
    mask = rng.random(scores.shape) < chance
    pair, component = np.nonzero(mask)
    cells = Cells(scores[mask], effects[mask], np.full(int(mask.sum()), chance), pair, component)
    sums = Sums.zeros((12,), sampled=True)
    sums.add_pairs(scores)
    sums.add_cells((component,), cells.score, cells.effect, cells.inclusion)
    found = estimate(sums, level=0.6827)
    error = (found.ci_high - found.ci_low) / 2
    return mean_agreement(found.mean, found.estimate, error, found.n, sums["m"], cells)


def test_with_every_cell_patched_it_is_the_line_through_the_means() -> None:
    """Pearson, slope and error of the components' means, by numpy."""
    scores, effects = population(50, np.random.default_rng(0))
    found = sampled(scores, effects, 1.0, np.random.default_rng(1))
    x, y = scores.mean(axis=0), effects.mean(axis=0)
    assert found.n == 12
    assert found.pearson == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found.slope == pytest.approx(np.polyfit(x, y, 1)[0])
    assert found.error == pytest.approx((x - y).std() / y.std())
    r, b = found.pearson, found.slope
    assert found.error == pytest.approx(math.sqrt(1 - r**2 + r**2 * (1 - 1 / b) ** 2))


@pytest.mark.parametrize("same", ["scores", "effects"])
def test_components_that_are_the_same_but_for_rounding_have_no_line(same: str) -> None:
    """As a stream patched at all positions is, behind every layer."""
    rng = np.random.default_rng(6)
    scores, effects = population(40, rng)
    rounded = (scores[:, :1] + 1e-7 * rng.normal(size=(40, 12))) * 3
    scores, effects = (rounded, effects) if same == "scores" else (scores, rounded)
    found = sampled(scores, effects, 1.0, rng)
    assert (math.isnan(found.pearson), math.isnan(found.error)) == (True, True)
    assert math.isnan(found.slope) if same == "scores" else found.slope == 0


def test_errors_of_estimates_do_not_weaken_the_correlation() -> None:
    """Effects that are scores and noise of known size: without allowing for it Pearson is 0.7."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=20_000)
    y = x + rng.normal(size=20_000)
    none = np.empty(0)
    cells = Cells(none, none, none, none.astype(np.int64), none.astype(np.int64))
    ones = np.ones_like(x)
    found = mean_agreement(x, y, ones, 100 * ones, 100 * ones, cells)
    assert np.corrcoef(x, y)[0, 1] == pytest.approx(0.707, abs=0.01)
    assert found.pearson == pytest.approx(1, abs=0.02)
    assert found.slope == pytest.approx(1, abs=0.02)
    assert found.error < 0.2
    noise = mean_agreement(x, rng.normal(size=20_000), 1.1 * ones, 100 * ones, 100 * ones, cells)
    assert math.isnan(noise.pearson)


@pytest.mark.parametrize("chance", [0.6, 1.0])
def test_standard_errors_are_the_spread_over_samples_of_pairs_and_cells(chance: float) -> None:
    """Brute force, with pairs that move all components together; with every cell, pairs alone."""
    rng = np.random.default_rng(3)
    draws = [sampled(*population(60, rng), chance, rng) for _ in range(300)]
    for name in ("pearson", "slope", "error"):
        values, errors = (
            np.array([getattr(each, field) for each in draws]) for field in (name, f"{name}_se")
        )
        # The variance between pairs is a difference, cut off at 0: errors are cautious where it is small.
        assert 0.8 < np.sqrt((errors**2).mean()) / values.std() < 1.5, name
    shares = [each.error_sampling for each in draws]
    assert (max(shares) == 0) == (chance == 1)


def test_components_with_too_few_cells_are_left_out() -> None:
    """Those with under three; with under three components there is no line."""
    scores, effects = population(40, np.random.default_rng(4))
    mean, middle, ones = scores.mean(axis=0), effects.mean(axis=0), np.ones(12)
    cells = Cells(*(np.ones(1) for _ in range(3)), *(np.zeros(1, np.int64) for _ in range(2)))
    few = np.where(np.arange(12) < 5, 2, 9)
    found = mean_agreement(mean, middle, 0 * ones, 40 * ones, few, cells)
    assert found.n == 7
    assert found.slope == pytest.approx(np.polyfit(mean[5:], middle[5:], 1)[0])
    none = mean_agreement(mean, middle, 0 * ones, 40 * ones, np.where(np.arange(12) < 10, 2, 9), cells)
    assert (none.n, math.isnan(none.pearson), math.isnan(none.slope_se)) == (2, True, True)


def test_a_top_list_is_compared_with_that_of_all_components() -> None:
    """By absolute value; where nothing was patched the mean score stands in."""
    mean = np.array([5.0, -4.0, 3.0, 2.0, 1.0, 0.5])
    effect = np.array([-5.0, 0.1, 4.0, 3.0, math.nan, math.nan])
    exact = np.array([9, 9, 9, 9, 0, 0])
    for k, overlap in ((1, 1.0), (2, 0.5), (3, 2 / 3), (4, 0.75)):
        found = top_agreement(mean, effect, np.zeros(6), exact, k)
        assert (found.k, found.patched, found.overlap) == (k, k, pytest.approx(overlap))
        assert found.overlap_se == 0


def test_no_overlap_is_told_where_the_top_was_not_patched_or_is_all_there_is() -> None:
    """Two of three is no figure for a list of five of which two were never measured."""
    mean, exact = np.array([5.0, 4.0, 3.0, 2.0, 1.0, math.nan]), np.array([9, 0, 9, 9, 9, 0])
    effect = np.array([5.0, math.nan, 3.0, 2.0, 1.0, math.nan])
    found = top_agreement(mean, effect, np.zeros(6), exact, 3)
    assert (found.patched, math.isnan(found.overlap), math.isnan(found.overlap_se)) == (2, True, True)
    every = np.full(6, 9)
    assert top_agreement(mean, mean, np.zeros(6), every, 4).overlap == 1
    for k in (5, 6, 50):
        all_of_them = top_agreement(mean, mean, np.zeros(6), every, k)
        assert (all_of_them.patched, math.isnan(all_of_them.overlap)) == (5, True)


def test_the_error_of_an_overlap_is_its_spread_over_estimates() -> None:
    """Brute force: estimates drawn around the true effects."""
    rng = np.random.default_rng(5)
    mean, truth = np.linspace(10, 1, 30), np.linspace(10, 1, 30) + rng.normal(size=30)
    error, exact = np.full(30, 0.6), np.full(30, 9)
    found = [top_agreement(mean, truth + error * rng.normal(size=30), error, exact, 8) for _ in range(2000)]
    overlaps, errors = (
        np.array([getattr(each, name) for each in found]) for name in ("overlap", "overlap_se")
    )
    assert 0.8 < np.sqrt((errors**2).mean()) / overlaps.std() < 1.6
