"""Racing: confidence sequences, and who is certainly among the largest."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from patchgrid.estimates.racing import RACE_SUMS, Racers, first_shares, next_shares, race_sums, stand

Floats = NDArray[np.float64]


def racers_of(u: Floats, drawn: Floats, *, exact: Floats | None = None) -> Racers:
    """Return components of these residuals `[pair, component]`, of which `drawn` have joined."""
    pairs, count = u.shape
    taken = np.where(drawn, u, 0.0)
    sums = np.stack([drawn.sum(axis=0), *(np.sum(taken**power, axis=0) for power in (1, 2, 4))])
    known = np.zeros(count)
    return Racers(
        np.full(count, float(pairs)),
        known,
        np.ones(count),
        sums,
        np.full(count, np.nan) if exact is None else exact,
    )


def test_sums_are_over_what_the_line_leaves() -> None:
    """By component, with the effect less its score, level and slopes."""
    rng = np.random.default_rng(0)
    index = (np.array([0, 1, 1]), np.array([2, 0, 0]))
    scores, effects, totals = rng.normal(size=(3, 3))
    lines = rng.normal(size=(3, 2, 3))
    found = race_sums(index, scores, effects, totals, lines)
    assert found.shape == (len(RACE_SUMS), 2, 3)
    for layer, head in ((0, 2), (1, 0), (1, 1)):
        own = [number for number in range(3) if (index[0][number], index[1][number]) == (layer, head)]
        level, by_a, by_d = lines[:, layer, head]
        u = np.array([effects[i] - scores[i] - level - by_a * scores[i] - by_d * totals[i] for i in own])
        expected = [len(own), u.sum(), (u**2).sum(), (u**4).sum()]
        np.testing.assert_allclose(found[:, layer, head], expected)


def test_the_sequence_holds_at_all_times_at_once() -> None:
    """In at least 95 % of 400 races, for components whose cells are drawn to the last one."""
    rng = np.random.default_rng(1)
    pairs, count, components = 200, 400, 1
    lost = 0
    for _ in range(count):
        u = rng.normal(size=(pairs, components))
        numbers = rng.random(u.shape)
        for share in (0.05, 0.08, 0.15, 0.3, 0.6, 0.9):
            standing = stand(racers_of(u, numbers < share), 1, confidence=0.95, tolerance=0, signed=True)
            if not (standing.low <= u.mean(axis=0)).all() or not (standing.high >= u.mean(axis=0)).all():
                lost += 1
                break
    assert lost / count <= 0.05


def test_the_width_is_that_of_the_paper() -> None:
    """Equation 7 of arXiv 2103.06476, with the correction for drawing without replacement."""
    rng = np.random.default_rng(2)
    pairs, t, error = 400, 60, 0.05
    u = rng.normal(size=(pairs, 1))
    drawn = np.zeros(u.shape, np.bool_)
    drawn[:t] = True
    standing = stand(racers_of(u, drawn), 1, confidence=1 - error, tolerance=0, signed=True)
    log = -2 * np.log(error)
    rho2 = (log + np.log(log + 1)) / 20
    width = np.sqrt((t * rho2 + 1) / (t**2 * rho2) * np.log((t * rho2 + 1) / error**2))
    width *= np.sqrt(1 - (t - 1) / pairs)
    own = u[:t, 0]
    carriers = (own**2).sum() ** 2 / (own**4).sum()
    freedom = min(t - 1, 1.5 * carriers) + 4
    few = stats.t.ppf(1 - error / 2, freedom) / stats.norm.ppf(1 - error / 2)
    spread = own.std(ddof=1)
    half = (standing.high[0] - standing.low[0]) / 2
    assert half == pytest.approx(few * spread * width)


def standing_of(low: Floats, high: Floats, k: int) -> tuple[Floats, Floats]:
    """Return who is in and who is out for certain, by looking at each pair of components."""
    count = len(low)
    is_in = [sum(high[j] > low[i] for j in range(count) if j != i) < k for i in range(count)]
    is_out = [sum(low[j] > high[i] for j in range(count) if j != i) >= k for i in range(count)]
    return np.array(is_in), np.array(is_out)


@pytest.mark.parametrize("signed", [False, True])
def test_who_is_in_and_who_is_out_follows_from_the_intervals(signed: bool) -> None:
    """For any k; no other component is above what is said."""
    rng = np.random.default_rng(3)
    u = rng.normal(size=(200, 12)) + np.linspace(-3, 3, 12)
    racers = racers_of(u, rng.random(u.shape) < 0.3)
    for k in range(1, 12):
        standing = stand(racers, k, confidence=0.95, tolerance=0, signed=signed)
        is_in, is_out = standing_of(standing.low, standing.high, k)
        np.testing.assert_array_equal(standing.is_in, is_in)
        np.testing.assert_array_equal(standing.is_out, is_out)
        np.testing.assert_array_equal(standing.active, ~(is_in | is_out))
        assert standing.above == max(standing.high[~is_in], default=-np.inf)


def test_components_within_the_tolerance_are_tied_and_end_the_race() -> None:
    """Two of nearly the same size need not be distinguished."""
    rng = np.random.default_rng(4)
    u = 0.01 * rng.normal(size=(500, 4)) + np.array([2.0, 1.0, 1.001, 0.1])
    racers = racers_of(u, rng.random(u.shape) < 0.2)
    assert not stand(racers, 2, confidence=0.95, tolerance=0).decided
    standing = stand(racers, 2, confidence=0.95, tolerance=0.05)
    assert standing.decided
    assert standing.is_in.tolist() == [True, False, False, False]
    assert standing.tied.tolist() == [False, True, True, False]


def test_a_race_always_ends() -> None:
    """Even between equals: when all of their cells have joined, their means are known."""
    rng = np.random.default_rng(5)
    u = np.repeat(rng.normal(size=(30, 1)), 3, axis=1)
    joined, rounds = np.zeros(3), 0
    while True:
        exact = np.where(joined >= 1, u.mean(axis=0), np.nan)
        racers = racers_of(u, rng.random(u.shape) < joined, exact=exact)
        standing = stand(racers, 1, confidence=0.95, tolerance=0)
        if standing.decided and rounds:
            break
        joined = next_shares(racers, standing, joined) if rounds else first_shares(racers)
        rounds += 1
        assert rounds < 20
