"""Which cells (a pair and a component) are patched exactly: Poisson sampling with known probabilities.

Every cell is drawn by itself, with its own inclusion probability. Of the other pairs nothing matters but the
job's pilot, fixed once: the sample does not depend on the chunk that a pair falls into, or on the worker that
computes it.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.estimates.sums import Sums

#: Expected draws of its own for each component, where the job has that many pairs.
FLOOR = 30.0
#: Part of a component's own draws that is spread evenly over its cells; the rest goes by |score|.
EVEN = 0.3
#: Part of what goes by |score| that every pair gets alike; the rest follows how large the pair's scores are.
ALIKE = 0.5
#: A pair counts as at most this many times as large as an average one: bounds what a job can cost.
LARGEST = 4.0
#: Smallest scale, as a part of the mean scale: scores far below that are rounding, which differs by batch.
SMALLEST = 1e-3
#: Pairs whose scores tell how large a component's scores are, where the job has that many.
PILOT = 64


def expected_share(rate: float, *, pairs: int, floor: float = FLOOR) -> float:
    """Give the share of all cells that will be patched, on average.

    This is `rate`, and more only where a job is so short that half of `rate` would give a component fewer
    than `floor` draws; never more than 1. 0 when `rate` is 0.
    """
    return min(1.0, _own(rate, pairs, floor) + rate / 2)


def pilot_rows(pairs: int) -> list[int]:
    """Give the row numbers of the pilot pairs: up to `PILOT`, evenly spaced over the job's pairs."""
    count = min(PILOT, pairs)
    return [number * pairs // count for number in range(count)]


def pilot_scales(pilot: Sums, axes: Sequence[int]) -> NDArray[np.float64]:
    """Give each component's mean |score| over the pilot pairs, float64 `[*axes]`.

    A component whose pilot scores are all zero, or that no pilot pair has, gets the mean of the others (1
    where there are none); none is below `SMALLEST` of that mean. `axes` may have
    another number of aligned positions than the pilot.
    """
    known = _fitted(np.where(pilot["abs_a"] > 0, pilot["abs_a"], np.nan) / np.maximum(pilot["n"], 1), axes)
    missing = np.isnan(known)
    if missing.all():
        return np.ones(known.shape)
    mean = known[~missing].mean()
    known[missing] = mean
    return np.clip(known, SMALLEST * mean, None)


def inclusion(
    scores: NDArray[Any],
    *,
    rate: float,
    pairs: int,
    scales: NDArray[Any] | None = None,
    floor: float = FLOOR,
    present: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Give the probability with which each cell of one pair and site is patched exactly.

    Every component has draws of its own, u = max(rate / 2, floor / pairs) of its cells: `EVEN` of them
    whatever its scores, the rest in proportion to |score| / scale, that is to how large the score is *for
    this component*. Another rate / 2 of all cells goes to the large components, in proportion to |score|.
    Probabilities in proportion to the size of what is summed are what makes a sum's variance small
    (Särndal, Swensson and Wretman 1992, section 3.6.2); the even part bounds the weights where the scores
    mislead.

    Of what goes by |score|, `ALIKE` is shared out within the pair; the rest grows with the pair's scores, so
    that pairs with large scores are patched more. The probabilities sum to `expected_share` times the number
    of cells, on average over the job's pairs if `scales` are right, and for every pair without them. What
    exceeds 1 goes to the pair's other cells. With all scores zero they are all equal.

    Args:
        scores: one pair's scores at one site, any shape; finite.
        rate: share of the job's cells to patch, 0 to 1.
        pairs: pairs in the job.
        scales: mean |score| of each component over the job, above 0, broadcast against `scores`. None: they
            are not known, and all components count as equally large.
        floor: expected draws of its own for each component.
        present: cells that the pair has, broadcast against `scores`; the others get 0. None: all.

    Returns:
        float64 of the same shape, positive wherever `rate` is and the cell is present.
    """
    sizes = np.abs(scores, dtype=np.float64)
    if rate == 0:
        return np.zeros(sizes.shape)
    own = _own(rate, pairs, floor)
    share = expected_share(rate, pairs=pairs, floor=floor)
    if scales is not None:
        sizes *= own * (1 - EVEN) / np.asarray(scales, np.float64) + rate / 2 / np.mean(scales)
    here = np.broadcast_to(True if present is None else present, sizes.shape)
    if scales is not None and share < 1 and here.any():
        by_score = share - EVEN * own
        times = min(LARGEST, float(sizes[here].mean()) / by_score)
        share = min(1.0, EVEN * own + by_score * (ALIKE + (1 - ALIKE) * times))
    probability = np.zeros(sizes.shape)
    probability[here] = _fill(sizes[here], EVEN * own, share)
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
    scales: NDArray[Any] | None = None,
    floor: float = FLOOR,
    present: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Choose the cells of one pair and site to patch exactly; give the mask and the inclusion probabilities.

    Arguments as for `inclusion` and `draw`; `pair` is the pair's row number in the job. `scores` must have
    the pair's own shape: padding it with positions that it lacks would move the flat indices of the draws.
    """
    probability = inclusion(scores, rate=rate, pairs=pairs, scales=scales, floor=floor, present=present)
    return draw(seed, site, pair, probability.shape) < probability, probability


def _own(rate: float, pairs: int, floor: float) -> float:
    """Give the share of every component's cells that is drawn for the component's own sake."""
    assert 0 <= rate <= 1, f"rate {rate} is not a share"
    return 0.0 if rate == 0 else min(1.0, max(rate / 2, floor / max(pairs, 1)))


def _fitted(values: NDArray[np.float64], axes: Sequence[int]) -> NDArray[np.float64]:
    """Give values another number of aligned positions, NaN where there are more of them."""
    wanted = np.full(tuple(axes), np.nan)
    if not values.ndim:
        return wanted
    same = tuple(slice(0, min(have, want)) for have, want in zip(values.shape, axes, strict=True))
    wanted[same] = values[same]
    return wanted


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
