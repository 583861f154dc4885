"""What a component that was hardly patched may do: bounds from patching random subsets of them together.

After Kramár et al. 2024 (arXiv 2403.00745, Algorithm 1). In each round the components of a pair are dealt
into blocks at random, and each block is patched as a whole. The block that a component is in, against the
mean of its round's blocks, tells what the component does: on average over what the others of its block do.
Where effects add up that is its own effect. Where they do not, it is what patching it does while a random
block of the others is patched as well, which is not quite what it does alone.

Of what a block does, scores explain a part: each block's summed scores, times one slope for all, are taken
off first, and the component's own mean score over the job, times that slope, is put back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from patchgrid.estimates.sampling import uniform

Floats = NDArray[np.float64]
#: Draws of blocks are no other sample's: streams from here on, one a round.
_STREAM = 1 << 32


def blocks_of(
    seed: int, site: str, pair: int, round_number: int, components: int, blocks: int
) -> NDArray[np.intp]:
    """Return the block of each component of a pair in one round, `[component]`.

    It depends on (seed, site, pair, round, component) alone: see `sampling.draw`.
    """
    drawn = uniform(seed, site, [pair], components, _STREAM + round_number)[0]
    dealt: NDArray[np.intp] = (drawn * blocks).astype(np.intp)
    return dealt


@dataclass(frozen=True, slots=True, eq=False)
class BlockEffects:
    """What patching the blocks of one pair did."""

    #: float64 `[round, block]`: metric(patched run) - metric(base run), in metric units.
    effects: Floats
    #: float64 `[round, block]`: the blocks' summed scores.
    predicted: Floats
    #: `[round, component]`: the block of each component; below 0: in none.
    blocks: NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Missed:
    """Bounds on the mean effects of components that were patched in subsets alone; metric units."""

    #: float64 `[component]`.
    estimate: Floats
    #: float64 `[component]`: the estimate, less what its score says of it.
    beside_score: Floats
    #: float64 `[component]`: standard error, over the subsets and over the pairs that were left out.
    error: Floats
    #: float64 `[component]`: half of an interval; those of all components hold together.
    half: Floats
    #: float64 `[component]`: |estimate| and two to three standard errors: an interval for this one alone.
    #: That is enough for `largest`, which is wrong only if it is at the one component that does most.
    bound: Floats
    #: What scores were multiplied by.
    slope: float
    #: Pairs that were patched, and subsets of each.
    pairs: int
    subsets: int

    @property
    def apart(self) -> NDArray[np.bool_]:
        """bool `[component]`: those whose effect is not what their score says, with all that confidence."""
        return np.abs(self.beside_score) > self.half

    def largest(self, among: NDArray[np.bool_]) -> float:
        """Return what the |mean effect| of all of these is below, with the confidence; 0 without any."""
        return float(self.bound[among].max(initial=0.0))


def slope_of(pairs: Iterable[BlockEffects]) -> float:
    """Return the slope of blocks' effects on their summed scores, within rounds; 0 where scores are all 0."""
    products = squares = 0.0
    for pair in pairs:
        score = _within_round(pair.predicted)
        products += float((score * _within_round(pair.effects)).sum())
        squares += float((score * score).sum())
    return products / squares if squares else 0.0


def bounds(
    pairs: Iterable[BlockEffects],
    mean_scores: Floats,
    *,
    slope: float,
    of_pairs: int,
    members: NDArray[np.bool_],
    confidence: float = 0.95,
) -> Missed:
    """Bound what each component does, on average over a job's pairs.

    Parameters
    ----------
    pairs
        At least two: a simple random sample of the job's, or all of them.
    mean_scores
        float64 `[component]`: their means over all of the job's pairs.
    slope
        That of `slope_of`.
    of_pairs
        How many pairs the job has.
    members
        bool `[component]`: those that were in the blocks.
    """
    total, squares, cubes, within = (np.zeros(len(mean_scores)) for _ in range(4))
    count = subsets = 0
    for pair in pairs:
        effect, variance = _effects_of_pair(pair, slope)
        total += effect
        squares += effect**2
        cubes += effect**3
        within += variance
        count, subsets = count + 1, pair.effects.size
    assert count > 1, "a bound needs at least two pairs"
    mean = total / count
    between = np.maximum(squares - count * mean * mean, 0) / (count - 1)
    share = min(1.0, count / of_pairs)
    # Of pairs that were all patched nothing is left out but subsets (Cochran 1977, equation 10.15).
    variance = ((1 - share) * between + share * within / count) / count
    error = np.sqrt(variance)
    usual = float(np.sqrt(np.median(variance[members]))) if members.any() else 0.0
    left, freedom = 1 - confidence, count - 1
    each = left / (2 * max(1, int(members.sum())))
    # Where few pairs make an error look small, that of most components stands in.
    half = np.maximum(stdtrit(freedom, 1 - each) * error, ndtri(1 - each) * usual)
    quantile = float(stdtrit(freedom, 1 - left / 2))
    likely = np.maximum(quantile * error, ndtri(1 - left / 2) * usual)
    likely += _for_skewness(mean, squares / count, cubes / count, quantile, count) * error
    estimate = np.where(members, mean + slope * mean_scores, 0.0)
    bound = np.abs(estimate) + likely
    return Missed(estimate, np.where(members, mean, 0.0), error, half, bound, slope, count, subsets)


def _for_skewness(mean: Floats, square: Floats, cube: Floats, quantile: float, count: int) -> Floats:
    """Return how many standard errors skewed effects add: a few large ones among pairs that have none.

    Johnson 1978, "Modified t tests and confidence intervals for asymmetrical populations", from the moments
    about 0.
    """
    spread = square - mean**2
    there = spread > 1e-9 * square
    third = cube - 3 * mean * square + 2 * mean**3
    skewness = np.divide(third, np.where(there, spread, 1) ** 1.5, where=there, out=np.zeros_like(third))
    widened: Floats = np.abs(skewness) * (1 + 2 * quantile**2) / (6 * np.sqrt(count))
    return widened


def _effects_of_pair(pair: BlockEffects, slope: float) -> tuple[Floats, Floats]:
    """Return each component's effect, less what its score explains, and its variance: `[component]`."""
    rounds, blocks = pair.effects.shape
    rest = _within_round(pair.effects - slope * pair.predicted) * blocks / (blocks - 1)
    each = np.take_along_axis(rest, np.maximum(pair.blocks, 0), axis=1) * (pair.blocks >= 0)
    mean: Floats = each.mean(axis=0)
    if rounds < 2:
        return mean, np.zeros_like(mean)
    variance: Floats = each.var(axis=0, ddof=1) / rounds
    return mean, variance


def _within_round(values: Floats) -> Floats:
    centred: Floats = values - values.mean(axis=1, keepdims=True)
    return centred
