"""Lists of components with few false ones among them."""

import numpy as np
import pytest
from scipy import stats

from patchgrid.estimates import Sums, estimate
from patchgrid.estimates.discoveries import discovered
from patchgrid.estimates.estimator import chance_below


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_the_list_is_that_of_benjamini_and_hochberg(rate: float) -> None:
    """As SciPy adjusts p-values; those that are not known are never on it."""
    rng = np.random.default_rng(0)
    chances = np.concatenate([rng.random(50), rng.random(20) ** 6])
    expected = stats.false_discovery_control(chances) <= rate
    np.testing.assert_array_equal(discovered(chances, rate), expected)
    with_unknown = np.concatenate([chances, [np.nan]])
    np.testing.assert_array_equal(discovered(with_unknown, rate), [*expected, False])
    assert not discovered(np.full((2, 2), np.nan), rate).any()


def sums_of(means: np.ndarray, seed: int, pairs: int = 200) -> Sums:
    """Return the sums of a sample of a fifth of components of these mean effects."""
    rng = np.random.default_rng(seed)
    scores = means + 0.3 * rng.normal(size=(pairs, len(means)))
    effects = scores + 0.5 * rng.normal(size=scores.shape)
    mask = rng.random(scores.shape) < 0.2
    sums = Sums.zeros((len(means),), sampled=True)
    sums.add_pairs(scores, total_effects=np.ones(pairs))
    pair, component = np.nonzero(mask)
    sums.add_cells((component,), scores[mask], effects[mask], np.full(len(pair), 0.2), np.ones(len(pair)))
    return sums


def test_a_chance_is_one_minus_the_confidence_that_excludes_the_size() -> None:
    """The end of the interval at confidence 1 - 2p is the size that the p-value is for."""
    sums = sums_of(np.array([0.0, 0.2, 1.0]), 1)
    for population in (False, True):
        chances = chance_below(sums, 0.3, population=population)
        for component, chance in enumerate(chances):
            # The other tail, beyond minus this size, counts next to nothing.
            if chance < 1e-3:
                level = 1 - 2 * chance
                known = estimate(sums, population=population, level=level)
                assert known.ci_low[component] == pytest.approx(0.3, abs=1e-4)


def test_at_no_effect_the_chance_is_that_of_a_two_sided_test() -> None:
    """The interval at confidence 1 - p reaches 0; fewer than three cells have none."""
    sums = sums_of(np.array([0.0, 0.02, -0.1, 0.3]), 2)
    for component, chance in enumerate(chance_below(sums, 0.0)):
        known = estimate(sums, level=1 - chance)
        ends = abs(known.ci_low[component]), abs(known.ci_high[component])
        assert min(ends) == pytest.approx(0, abs=1e-9)
    few = sums_of(np.linspace(0.5, 1, 20), 3, pairs=6)
    known = estimate(few)
    assert known.shrunk.any()
    assert np.isnan(chance_below(few, 0.0)[known.shrunk]).all()


@pytest.mark.parametrize("above", [0.0, 0.3])
def test_false_discoveries_are_as_few_as_is_said(above: float) -> None:
    """On average over 300 jobs, with 30 of 40 components at the very size that is asked about."""
    means = np.concatenate([np.full(30, above), above + np.linspace(0.05, 0.7, 10)])
    false = []
    for seed in range(300):
        found = discovered(chance_below(sums_of(means, seed), above, population=True), 0.1)
        false.append(found[:30].sum() / max(found.sum(), 1))
    assert np.mean(false) <= 0.1
