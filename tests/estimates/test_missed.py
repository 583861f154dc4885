"""Bounds on what was never patched alone: against brute force, and held to what they say by replays."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from patchgrid.estimates.missed import BlockEffects, Missed, blocks_of, bounds, slope_of

#: Components, pairs of a job, pairs that are measured, rounds and blocks of each.
COMPONENTS, PAIRS, CHOSEN, ROUNDS, BLOCKS = 240, 200, 32, 4, 16
PLANTED = 7
#: From effects `[component]` and blocks `[round, component]` to what the blocks do.
Joint = Callable[[np.ndarray, np.ndarray], np.ndarray]


def summed(values: np.ndarray, blocks: np.ndarray, count: int = BLOCKS) -> np.ndarray:
    """Add up values by block, a row a round."""
    return np.stack([np.bincount(own, values, minlength=count) for own in blocks])


def test_a_component_s_effect_is_its_average_one_among_random_others() -> None:
    """Of a game with interactions, over all ways to deal: what adding it does to every set of the others."""
    generator = np.random.default_rng(0)
    value = {some: generator.normal() for size in range(6) for some in itertools.combinations(range(5), size)}
    value[()] = 0.0
    deals = np.array(list(itertools.product((0, 1), repeat=5)))
    effects = np.array([[value[tuple(np.flatnonzero(deal == block))] for block in (0, 1)] for deal in deals])
    games = [BlockEffects(effects[:, :], np.zeros_like(effects), deals)] * 2
    found = bounds(games, np.zeros(5), slope=0.0, of_pairs=2, members=np.ones(5, bool))
    for component in range(5):
        others = [each for each in range(5) if each != component]
        sets = [some for size in range(5) for some in itertools.combinations(others, size)]
        gains = [value[tuple(sorted((*some, component)))] - value[some] for some in sets]
        assert found.estimate[component] == pytest.approx(np.mean(gains))


def test_blocks_are_everybody_s_own() -> None:
    """Each is about as large as the others; other rounds, pairs and seeds deal otherwise."""
    dealt = blocks_of(3, "mlp_post", 5, 2, 6400, 16)
    np.testing.assert_array_equal(dealt, blocks_of(3, "mlp_post", 5, 2, 6400, 16))
    np.testing.assert_array_equal(dealt[:100], blocks_of(3, "mlp_post", 5, 2, 100, 16))
    assert np.bincount(dealt, minlength=16).min() > 320
    for other in ((4, "mlp_post", 5, 2), (3, "z", 5, 2), (3, "mlp_post", 6, 2), (3, "mlp_post", 5, 3)):
        assert (blocks_of(*other, 6400, 16) == dealt).mean() < 0.1


def replay(
    seed: int, effects: np.ndarray, scores: np.ndarray, joint: Joint = summed, confidence: float = 0.95
) -> Missed:
    """Draw pairs and subsets as a job does, and bound the effects `[pair, component]`."""
    chosen = np.random.default_rng(seed).choice(PAIRS, CHOSEN, replace=False)
    data = []
    for pair in chosen:
        rounds = [
            blocks_of(seed, "mlp_post", int(pair), number, COMPONENTS, BLOCKS) for number in range(ROUNDS)
        ]
        blocks = np.stack(rounds)
        data.append(BlockEffects(joint(effects[pair], blocks), summed(scores[pair], blocks), blocks))
    everybody = np.ones(COMPONENTS, bool)
    slope = slope_of(data)
    means = scores.mean(0)
    return bounds(data, means, slope=slope, of_pairs=PAIRS, members=everybody, confidence=confidence)


def made_up(seed: int, tails: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Make effects `[pair, component]`, a tenth of them four times as large, and scores that see them."""
    generator = np.random.default_rng(seed)
    size = 0.02 * generator.normal(size=COMPONENTS)
    size[:: COMPONENTS // 24] *= 4
    effects = size + 0.5 * np.abs(size) * generator.normal(size=(PAIRS, COMPONENTS))
    if tails is not None:
        effects = effects * generator.standard_t(tails, size=effects.shape) * 0.5
    return effects, 0.8 * effects + 0.01 * generator.normal(size=effects.shape)


def interacting(effects: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Add products of some components' presences, and let the whole saturate."""
    generator = np.random.default_rng(1)
    partners, weights = (
        generator.integers(COMPONENTS, size=(4 * COMPONENTS, 2)),
        generator.normal(size=4 * COMPONENTS),
    )
    found = summed(effects, blocks)
    for row, own in zip(found, blocks, strict=True):
        same = own[partners[:, 0]] == own[partners[:, 1]]
        row += np.bincount(own[partners[same, 0]], 0.02 * weights[same], minlength=BLOCKS)
    saturated: np.ndarray = 3 * np.tanh(found / 3)
    return saturated


@pytest.mark.parametrize(
    ("tails", "joint"),
    [(None, summed), (2.1, summed), (None, interacting)],
    ids=["even", "heavy", "interacting"],
)
def test_no_component_is_above_the_bound(tails: float | None, joint: Joint) -> None:
    """In 95 of 100 replays at least; where effects add up, all intervals hold together as often."""
    held = together = 0
    bound, largest = [], []
    for seed in range(100):
        effects, scores = made_up(seed, tails)
        truth, found = effects.mean(0), replay(seed, effects, scores, joint)
        others = ~found.apart
        bound.append(found.largest(others))
        largest.append(np.abs(truth[others]).max())
        held += largest[-1] <= bound[-1]
        together += bool((np.abs(found.estimate - truth) <= found.half).all())
    assert held >= 95, held
    assert joint is interacting or together >= 95
    assert np.mean(bound) < 3 * np.mean(largest), "a bound that says something"


@pytest.mark.parametrize("often", [1.0, 0.2], ids=["in every pair", "in a fifth of the pairs"])
def test_a_planted_component_is_found_or_bounded(often: float) -> None:
    """A mean effect of 0.5 that scores do not see: named, or below the bound."""
    named = safe = 0
    for seed in range(60):
        effects, scores = made_up(seed)
        generator = np.random.default_rng(1000 + seed)
        effects[:, PLANTED] = np.where(generator.random(PAIRS) < often, 0.5 / often, 0.0)
        scores[:, PLANTED] = 0.01 * generator.normal(size=PAIRS)
        found = replay(seed, effects, scores)
        named += bool(found.apart[PLANTED])
        safe += bool(found.apart[PLANTED] or found.largest(~found.apart) >= 0.5)
    assert safe >= 55, safe
    assert named >= 58 or often < 1


def test_scores_narrow_the_bound_and_cannot_widen_it() -> None:
    """Good scores give smaller errors than none; misleading ones, errors like these."""
    effects, scores = made_up(0)
    noise = np.random.default_rng(2).normal(size=scores.shape)
    good, none, wrong = (np.median(replay(0, effects, each).error) for each in (scores, 0 * scores, noise))
    assert good < 0.6 * none
    assert wrong < 1.1 * none


def test_more_confidence_and_fewer_pairs_widen_the_bound() -> None:
    """And what was in no block has no estimate."""
    effects, scores = made_up(0)
    sure, less = replay(0, effects, scores, confidence=0.999), replay(0, effects, scores, confidence=0.9)
    assert (sure.bound > less.bound).all()
    assert (sure.half > less.half).all()
    blocks = np.where(np.arange(COMPONENTS) < 200, blocks_of(0, "z", 0, 0, COMPONENTS, BLOCKS), -1)
    both = np.stack([blocks, blocks])
    values = np.random.default_rng(0).normal(size=(2, BLOCKS))
    data = [BlockEffects(values, np.zeros_like(values), both)] * 3
    inside = np.arange(COMPONENTS) < 200
    found = bounds(data, np.ones(COMPONENTS), slope=1.0, of_pairs=10, members=inside)
    assert (found.estimate[200:] == 0).all()
    assert found.pairs == 3
    assert found.subsets == 2 * BLOCKS
