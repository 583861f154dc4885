"""Which cells (a pair and a component) are patched exactly: Poisson sampling with known probabilities.

Every cell is drawn by itself, with its own inclusion probability, so nothing about the sample depends on the
other pairs, on the chunk that a pair falls into, or on the worker that computes it.
"""

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Expected uniform draws for each component, where the job has that many pairs.
FLOOR = 30.0


def expected_share(rate: float, *, pairs: int, floor: float = FLOOR) -> float:
    """Give the share of all cells that will be patched, on average.

    This is `rate`, and more only where a job is so short that the uniform half of `rate` would give a
    component fewer than `floor` draws; never more than 1. 0 when `rate` is 0.
    """
    return min(1.0, _uniform(rate, pairs, floor) + rate / 2)


def inclusion(
    scores: NDArray[Any],
    *,
    rate: float,
    pairs: int,
    floor: float = FLOOR,
    present: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Give the probability with which each cell of one pair and site is patched exactly.

    One part is uniform, max(rate / 2, floor / pairs); the other is in proportion to |score| and carries
    rate / 2 of the pair's cells. The scale of the scores is this pair's own sum of |score|, so no pair
    needs to know of another. What exceeds 1 goes to the other cells: the probabilities sum to
    `expected_share` times the number of cells. With all scores zero they are all equal.

    Args:
        scores: one pair's scores at one site, any shape; finite.
        rate: share of the job's cells to patch, 0 to 1.
        pairs: pairs in the job.
        floor: expected uniform draws for each component.
        present: cells that the pair has, broadcast against `scores`; the others get 0. None: all.

    Returns:
        float64 of the same shape, positive wherever `rate` is and the cell is present.
    """
    sizes = np.abs(scores, dtype=np.float64)
    if rate == 0:
        return np.zeros(sizes.shape)
    uniform = _uniform(rate, pairs, floor)
    share = expected_share(rate, pairs=pairs, floor=floor)
    if present is None:
        return _fill(sizes.ravel(), uniform, share).reshape(sizes.shape)
    probability = np.zeros(sizes.shape)
    here = np.broadcast_to(present, sizes.shape)
    probability[here] = _fill(sizes[here], uniform, share)
    return probability


def draw(seed: int, site: str, pair: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Give one uniform number in [0, 1) for each cell of a pair and site.

    The number at flat index i depends on (seed, site, pair, i) alone. It is word i of the counter-based
    generator Philox4x64 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") with the key
    (seed, hash of the site's name) and the pair's row number as the second word of its counter; raw words,
    because NumPy keeps these the same from version to version.
    """
    name_hash = int.from_bytes(hashlib.blake2b(site.encode(), digest_size=8).digest(), "little")
    key = np.array([seed, name_hash], np.uint64)
    counter = np.array([0, pair, 0, 0], np.uint64)
    words = np.random.Philox(key=key, counter=counter).random_raw(math.prod(shape))
    return ((words >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def sample(
    scores: NDArray[Any],
    *,
    rate: float,
    pairs: int,
    seed: int,
    site: str,
    pair: int,
    floor: float = FLOOR,
    present: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Choose the cells of one pair and site to patch exactly; give the mask and the inclusion probabilities.

    Arguments as for `inclusion` and `draw`; `pair` is the pair's row number in the job. `scores` must have
    the pair's own shape: padding it with positions that it lacks would move the flat indices of the draws.
    """
    probability = inclusion(scores, rate=rate, pairs=pairs, floor=floor, present=present)
    return draw(seed, site, pair, probability.shape) < probability, probability


def _uniform(rate: float, pairs: int, floor: float) -> float:
    """Give the part of the inclusion probability that is the same for every cell."""
    assert 0 <= rate <= 1, f"rate {rate} is not a share"
    return 0.0 if rate == 0 else min(1.0, max(rate / 2, floor / max(pairs, 1)))


def _fill(sizes: NDArray[np.float64], uniform: float, share: float) -> NDArray[np.float64]:
    """Spread what is left of the budget over cells in proportion to size, none above 1."""
    assert np.isfinite(sizes).all(), "a score is not finite: such a pair must fail before it is sampled"
    probability = np.full(sizes.shape, share)
    if share == 1:
        return probability
    below, full = np.arange(sizes.size), 0
    while (total := sizes[below].sum()) > 0:
        spare = share * sizes.size - uniform * below.size - full
        probability[below] = uniform + spare * (sizes[below] / total)
        over = probability[below] > 1
        probability[below[over]] = 1
        if not over.any():
            return probability
        below, full = below[~over], full + int(over.sum())
    # Only cells of size zero are left below 1: they share the rest evenly.
    probability[below] = (share * sizes.size - full) / max(below.size, 1)
    return probability
