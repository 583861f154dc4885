"""The estimate from several methods' scores, against NumPy's least squares on the cells themselves."""

import numpy as np
import pytest
from numpy.typing import NDArray

from patchgrid.estimates import Sums, estimate
from patchgrid.estimates.combined import combined

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


def test_it_is_the_weighted_least_squares_line_at_the_means_of_all_pairs() -> None:
    """With its variance from the residuals of that line."""
    x, effects, chances, mask = drawn(1)
    _, component = np.nonzero(mask)
    found = combined(x[:, mask], effects[mask], chances[mask], component, x.mean(axis=1))
    for each in range(COMPONENTS):
        here = mask[:, each]
        w, regressors = 1 / chances[here, each], x[:, here, each].T
        design, root = np.column_stack([np.ones(len(w)), regressors]), np.sqrt(1 / chances[here, each])
        line, *_ = np.linalg.lstsq(design * root[:, None], effects[here, each] * root, rcond=None)
        middle = x[:, :, each].mean(axis=1)
        assert found.estimate[each] == pytest.approx(np.r_[1, middle] @ line, rel=1e-6)
        left, size = effects[here, each] - design @ line, w.sum() ** 2 / (w**2).sum()
        away = middle - np.average(regressors, axis=0, weights=w)
        leverage = away @ np.linalg.solve(np.cov(regressors.T, aweights=w, ddof=0), away)
        v = (1 - 1 / w) * w**2
        variance = (v * left**2).sum() / w.sum() ** 2 * (size / (size - 4)) ** 2 * (1 + leverage)
        assert found.variance[each] == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("factor", [1.0, -3.0, 0.0])
def test_scores_in_proportion_give_what_one_of_them_gives(factor: float) -> None:
    """The estimate of one method: a second one that says nothing new is no harm, nor one that is all zero."""
    x, effects, chances, mask = drawn(2)
    rows, component = np.nonzero(mask)
    same = np.stack([x[0], factor * x[0], x[2]])
    found = combined(same[:, mask], effects[mask], chances[mask], component, same.mean(axis=1))
    sums = Sums.zeros((COMPONENTS,), sampled=True)
    sums.add_pairs(x[0], total_effects=x[2, :, 0])
    sums.add_cells((component,), x[0, mask], effects[mask], chances[mask], x[2, rows, 0])
    np.testing.assert_allclose(found.estimate, estimate(sums).estimate, rtol=1e-4)


def test_with_few_cells_there_is_none() -> None:
    """Fewer effective cells than four for each coefficient, or none at all."""
    x, effects, chances, mask = drawn(3)
    mask[:, 0] &= np.cumsum(mask[:, 0]) <= 12
    mask[:, 1] = False
    _, component = np.nonzero(mask)
    found = combined(x[:, mask], effects[mask], chances[mask], component, x.mean(axis=1))
    assert np.isfinite(found.estimate).tolist() == [False, False, True]


def test_a_second_method_that_explains_more_lowers_the_error() -> None:
    """In replays, and intervals hold as often as they say."""
    x, effects, chances, _ = drawn(4)
    truth, errors, alone, covered = effects.mean(axis=0), [], [], []
    for seed in range(200):
        mask = np.random.default_rng(seed).random(chances.shape) < chances
        _, component = np.nonzero(mask)
        both, one = (
            combined(y[:, mask], effects[mask], chances[mask], component, y.mean(axis=1))
            for y in (x, x[[0, 2]])
        )
        errors.append(both.estimate - truth)
        alone.append(one.estimate - truth)
        covered.append(np.abs(errors[-1]) <= 1.97 * np.sqrt(both.variance))
    assert np.square(errors).mean() < np.square(alone).mean() / 4
    assert 0.92 <= np.mean(covered) <= 0.98
