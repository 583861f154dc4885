"""The budget of exact patching goes where scores leave most unexplained, and is kept."""

import numpy as np
import pytest
from numpy.typing import NDArray

from patchgrid.estimates import (
    Sums,
    allocate,
    estimate,
    expected_share,
    pilot_rows,
    pilot_scales,
    pilot_share,
    sample_allocated,
    sample_many,
    shares_on,
)
from patchgrid.estimates.allocation import LEAST, inclusion
from patchgrid.estimates.regression import residuals

PAIRS = 400
Floats = NDArray[np.float64]


def population(spreads: Floats, seed: int = 0, pairs: int = PAIRS) -> tuple[Floats, Floats, Floats]:
    """Make scores, effects and total effects `[pair(, component)]` whose residuals have these deviations."""
    rng = np.random.default_rng(seed)
    d = rng.normal(5, 1, size=pairs)
    scores = rng.gamma(2.0, 0.5, size=(pairs, len(spreads)))
    effects = 0.2 + 1.3 * scores + 0.1 * d[:, None] + spreads * rng.normal(size=scores.shape)
    return scores, effects, d


def summed(scores: Floats, effects: Floats, d: Floats, mask: NDArray[np.bool_], chances: Floats) -> Sums:
    """Add up pairs and their patched cells."""
    sums = Sums.zeros(scores.shape[1:], sampled=True)
    sums.add_pairs(scores, total_effects=d)
    rows, *index = np.nonzero(mask)
    sums.add_cells(tuple(index), scores[mask], effects[mask], chances[mask], d[rows])
    return sums


def pilot_of(scores: Floats, effects: Floats, d: Floats, share: float, seed: int = 0) -> Sums:
    """Measure a pilot."""
    rows = pilot_rows(len(scores))
    some = Sums.zeros(scores.shape[1:], sampled=False)
    some.add_pairs(scores[rows])
    mask, chances = sample_allocated(
        scores[rows],
        shares=np.array(pilot_share(share, len(scores))),
        scales=pilot_scales(some, scores.shape[1:]),
        seed=seed,
        site="z",
        rows=rows,
        stream=1,
    )
    return summed(scores[rows], effects[rows], d[rows], mask, chances)


def test_residuals_are_those_of_a_weighted_line() -> None:
    """As NumPy's least squares has them."""
    rng = np.random.default_rng(3)
    scores, effects, d = population(np.array([0.5, 2.0]))
    chances = rng.uniform(0.1, 0.9, size=scores.shape)
    mask = rng.random(scores.shape) < chances
    variance, freedom = residuals(summed(scores, effects, d, mask, chances))
    for component in range(2):
        here = mask[:, component]
        w = 1 / chances[here, component]
        a, r = scores[here, component], (effects - scores)[here, component]
        x = np.stack([np.ones_like(a), a, d[here]], axis=1)
        fit, *_ = np.linalg.lstsq(x * np.sqrt(w)[:, None], r * np.sqrt(w), rcond=None)
        size = w.sum() ** 2 / (w**2).sum()
        left = np.average((r - x @ fit) ** 2, weights=w) * size / (size - 3)
        assert freedom[component] == pytest.approx(size - 3)
        assert variance[component] == pytest.approx(left, rel=1e-4)


def test_too_few_cells_tell_no_residuals() -> None:
    """One cell, or none."""
    sums = Sums.zeros((2,), sampled=True)
    sums.add_pairs(np.ones((3, 2)))
    sums.add_cells((np.array([0]),), *(np.array([value]) for value in (1.0, 2.0, 0.5)))
    variance, freedom = residuals(sums)
    assert variance.tolist() == [0, 0]
    assert freedom.tolist() == [0, 0]


def test_a_component_has_its_share_of_cells_patched() -> None:
    """On average; few are patched half by size, nearly all evenly, and none with a chance above 1."""
    scores, _, _ = population(np.ones(5), pairs=20_000)
    shares = np.array([0.001, 0.05, 0.5, 0.9, 1.0])
    chances = inclusion(scores, shares, np.abs(scores).mean(axis=0))
    assert chances.max() <= 1
    np.testing.assert_allclose(chances.mean(axis=0), shares, rtol=0.03)
    assert (chances[:, 4] == 1).all()
    assert chances[:, 1].max() / chances[:, 1].min() > 3
    assert chances[:, 3].max() / chances[:, 3].min() < 1.3


def test_shares_follow_the_residuals() -> None:
    """In proportion to their standard deviations, where many cells have told them."""
    spreads = np.array([0.1, 0.2, 0.4, 0.8])
    scores, effects, d = population(spreads, pairs=20_000)
    everything = np.ones(scores.shape)
    sums = summed(scores, effects, d, everything > 0, everything)
    found = allocate({"z": sums}, share=0.1, pairs=20_000)["z"] - LEAST / 20_000
    np.testing.assert_allclose(found / found.sum(), spreads / spreads.sum(), rtol=0.03)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 0.95])
def test_the_budget_is_kept(share: float) -> None:
    """By all sites together, with what is patched in the pilot."""
    parts = {
        site: population(np.geomspace(0.01, 10, count), count) for site, count in (("z", 40), ("mlp_out", 5))
    }
    pilots = {site: pilot_of(*part, share) for site, part in parts.items()}
    shares = allocate(pilots, share=share, pairs=PAIRS)
    cells = sum(float(each.sum()) for each in shares.values()) * PAIRS
    in_pilot = pilot_share(share, PAIRS) * 45 * len(pilot_rows(PAIRS))
    assert cells + in_pilot == pytest.approx(share * 45 * PAIRS, rel=1e-6)
    assert all((each > 0).all() and (each <= 1).all() for each in shares.values())


@pytest.mark.parametrize(
    ("share", "pairs", "expected"),
    [
        (0.0, 1000, 0),
        (1.0, 1000, 0),
        (0.01, 1000, 0),
        (0.029, 1000, 0),
        (0.03, 1000, 8 / 64),
        (0.9, 45, 8 / 45),
    ],
)
def test_a_pilot_is_patched_if_the_budget_is_large_enough(share: float, pairs: int, expected: float) -> None:
    """Thirty cells of each component, of which it takes eight."""
    assert pilot_share(share, pairs) == pytest.approx(expected)


def test_sites_without_any_pair_have_no_shares() -> None:
    """Nor has a job whose pilot was given up."""
    nothing = Sums.zeros((), sampled=True)
    scores, effects, d = population(np.ones(3))
    found = allocate({"z": nothing, "mlp_out": pilot_of(scores, effects, d, 0.2)}, share=0.2, pairs=PAIRS)
    assert found.keys() == {"mlp_out"}
    assert allocate({"z": nothing}, share=0.2, pairs=PAIRS) == {}


def test_a_pilot_without_patched_cells_gives_all_components_the_same() -> None:
    """As where patching it failed."""
    scores, _, d = population(np.ones(4))
    sums = Sums.zeros((4,), sampled=True)
    sums.add_pairs(scores[:64], total_effects=d[:64])
    shares = allocate({"z": sums}, share=0.2, pairs=PAIRS)["z"]
    np.testing.assert_allclose(shares, 0.2 - 8 / PAIRS)


def test_positions_beyond_the_pilots_have_the_jobs_share() -> None:
    """Pairs may be longer than any of the pilot's."""
    found = shares_on(np.array([[0.1, 0.2]]), (1, 3), 0.05)
    assert found.tolist() == [[0.1, 0.2, 0.05]]


def test_estimates_come_nearer_than_by_score_at_the_same_cost() -> None:
    """Where two of forty components hold most of what scores leave unexplained; intervals hold."""
    spreads = np.concatenate([[5.0, 3.0], np.full(38, 0.05)])
    scores, effects, d = population(spreads)
    truth, share, rate = effects.mean(axis=0), expected_share(0.05, pairs=PAIRS), 0.05
    some = Sums.zeros((40,), sampled=False)
    some.add_pairs(scores[pilot_rows(PAIRS)])
    scales = pilot_scales(some, (40,))
    errors: dict[str, list[Floats]] = {"residual": [], "score": []}
    covered, cells = [], {"residual": 0, "score": 0}
    for seed in range(60):
        pilot = pilot_of(scores, effects, d, share, seed)
        shares = allocate({"z": pilot}, share=share, pairs=PAIRS)["z"]
        drawn = {
            "residual": sample_allocated(
                scores, shares=shares, scales=scales, seed=seed, site="z", rows=range(PAIRS)
            ),
            "score": sample_many(
                scores, rate=rate, pairs=PAIRS, seed=seed, site="z", rows=range(PAIRS), scales=scales
            ),
        }
        for name, (mask, chances) in drawn.items():
            found = estimate(summed(scores, effects, d, mask, chances))
            errors[name].append(found.estimate - truth)
            cells[name] += int(mask.sum())
            if name == "residual":
                slack = 1e-9
                covered.append((found.ci_low - slack <= truth) & (truth <= found.ci_high + slack))
        cells["residual"] += int(pilot["m"].sum())
    error = {name: float(np.sqrt(np.square(each).mean())) for name, each in errors.items()}
    assert cells["residual"] <= 1.02 * cells["score"]
    assert error["residual"] <= error["score"] / 3
    assert np.mean(covered) >= 0.93


def test_what_is_drawn_in_the_pilot_says_nothing_of_the_jobs_draws() -> None:
    """Other numbers of the same generator."""
    scores = np.ones((2000, 8))
    masks = [
        sample_allocated(
            scores,
            shares=np.array(0.5),
            scales=np.ones(8),
            seed=7,
            site="z",
            rows=range(2000),
            stream=stream,
        )[0]
        for stream in (0, 1)
    ]
    assert abs(np.corrcoef(masks[0].ravel(), masks[1].ravel())[0, 1]) < 0.05
