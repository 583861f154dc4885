"""Components with few cells: shrunk toward the mean score by what the site's cells show."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from patchgrid.estimates import Sums, estimate
from patchgrid.estimates.few_cells import few_cells

Floats = NDArray[np.float64]


def drawn(scores: Floats, effects: Floats, mask: NDArray[np.bool_], chances: Floats) -> Sums:
    """Add up the pairs `[pair, component]` and their sampled cells."""
    sums = Sums.zeros(scores.shape[1:], sampled=True)
    sums.add_pairs(scores)
    sums.add_cells((np.nonzero(mask)[1],), scores[mask], effects[mask], chances[mask])
    return sums


def population(spread: float, seed: int = 0) -> tuple[Floats, Floats]:
    """Make 40 pairs of 30 components: effects that differ from scores by level (`spread`) and by chance."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(0.05, 4, 30)
    scores = sizes * rng.gamma(4.0, 0.25, size=(40, 30))
    levels = spread * rng.normal(size=30)
    return scores, scores + sizes * (levels + 0.5 * rng.normal(size=scores.shape))


def test_it_is_the_analysis_of_variance_of_all_cells() -> None:
    """By loops over components, with the levels and squares of their cells."""
    scores, effects = population(1.0)
    rng = np.random.default_rng(1)
    chances = np.full(scores.shape, 0.08)
    mask = rng.random(scores.shape) < chances
    found = few_cells(drawn(scores, effects, mask, chances))
    cells = {number: (effects - scores)[mask[:, number], number] for number in range(30)}
    scale = np.abs(scores).mean(axis=0)
    relative = {number: own / scale[number] for number, own in cells.items() if len(own)}
    within = sum(((own - own.mean()) ** 2).sum() for own in relative.values())
    freedom = sum(len(own) - 1 for own in relative.values())
    within /= freedom
    total = sum(map(len, relative.values()))
    squares = sum(len(own) * own.mean() ** 2 for own in relative.values())
    between = (squares - within * len(relative)) / total
    assert between > 0
    assert {len(own) for own in cells.values()} >= {0, 1, 2, 3}
    for number, own in cells.items():
        k = len(own)
        assert found.few[number] == (k in (1, 2))
        if k in (1, 2):
            moved = k / (k + within / between * (1 + 5 / freedom)) * own.mean()
            assert found.estimate[number] == pytest.approx(scores[:, number].mean() + moved)
        else:
            assert math.isnan(found.estimate[number])


def test_chance_alone_leaves_the_mean_score() -> None:
    """One cell of a component, far off, where all others say that components do not differ."""
    scores, effects = population(0.0)
    mask = np.zeros(scores.shape, np.bool_)
    mask[:10, :20] = True
    mask[0, 25] = True
    effects[0, 25] += 3
    found = few_cells(drawn(scores, effects, mask, np.full(scores.shape, 0.2)))
    assert np.flatnonzero(found.few).tolist() == [25]
    assert abs(found.estimate[25] - scores[:, 25].mean()) < 0.5


def test_what_is_known_is_left_alone() -> None:
    """Components without a cell, or with all; sites with fewer than three components; no cells at all."""
    scores, effects = population(1.0)
    mask = np.zeros((2, 30), np.bool_)
    mask[:, :3] = True
    found = few_cells(drawn(scores[:2], effects[:2], mask, np.ones((2, 30))))
    assert not found.few.any()
    whole = estimate(drawn(scores[:2], effects[:2], mask, np.ones((2, 30))))
    assert whole.estimate[:3] == pytest.approx(effects[:2, :3].mean(axis=0))
    few = np.zeros((40, 2), np.bool_)
    few[0] = True
    assert not few_cells(drawn(scores[:, :2], effects[:, :2], few, np.full((40, 2), 0.1))).few.any()
    assert not few_cells(Sums.zeros((5,), sampled=False)).few.any()


def test_estimates_of_few_cells_have_no_interval_and_say_so() -> None:
    """Beside others that have one."""
    scores, effects = population(1.0)
    chances = np.full(scores.shape, 0.1)
    sums = drawn(scores, effects, np.random.default_rng(2).random(scores.shape) < chances, chances)
    found, few = estimate(sums), few_cells(sums)
    np.testing.assert_array_equal(found.shrunk, few.few)
    np.testing.assert_array_equal(found.estimate[few.few], few.estimate[few.few])
    assert np.isnan(found.ci_low[few.few]).all()
    assert np.isfinite(found.ci_low[~few.few & (found.exact_n >= 3)]).all()
    assert few.few.any()
    assert not few.few.all()


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("share", [0.02, 0.05])
def test_neither_errors_nor_ranks_are_worse_than_those_of_lone_cells_or_scores(
    spread: float, share: float
) -> None:
    """Over 200 samples, against each component's own cells (Hájek's difference estimator) and mean scores."""
    rng = np.random.default_rng(3)
    errors, ranks = [], []
    for seed in range(200):
        scores, effects = population(spread, seed)
        truth, mean = effects.mean(axis=0), scores.mean(axis=0)
        chances = np.full(scores.shape, share)
        sums = drawn(scores, effects, rng.random(scores.shape) < chances, chances)
        found = estimate(sums)
        lone = mean + np.divide(sums["wr"], sums["w"], out=np.zeros(30), where=sums["w"] > 0)
        ours = np.where(found.shrunk, found.estimate, lone)
        values = (ours, lone, mean)
        few = found.shrunk
        errors.append([np.square((each - truth) / np.abs(mean))[few].mean() for each in values])
        ranks.append([stats.spearmanr(np.abs(each), np.abs(truth)).statistic for each in values])
    mine, alone, score = np.mean(errors, axis=0)
    assert mine < 1.05 * alone
    assert mine < score + 0.1 * alone, "a tenth of what lone cells cost is what little is known of the spread"
    rank, rank_alone, rank_score = np.mean(ranks, axis=0)
    assert rank > rank_alone - 0.01
    assert rank > rank_score - 0.01
