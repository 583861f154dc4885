"""Which cells (a pair and a component) are patched exactly: Poisson sampling with known probabilities.

Every cell is drawn by itself, with its own inclusion probability. Of the other pairs nothing matters but the
job's pilot, fixed once: the sample does not depend on the chunk that a pair falls into, or on the worker that
computes it.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
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
    """Return the share of all cells that will be patched, on average.

    This is `rate`, and more only where half of `rate` would give a component fewer than `floor` draws of the
    job's pairs; never more than 1.
    """
    return min(1.0, _own(rate, pairs, floor) + rate / 2)


def pilot_rows(pairs: int) -> list[int]:
    """Return the row numbers of the pilot pairs: up to `PILOT`, evenly spaced over the job's pairs."""
    count = min(PILOT, pairs)
    return [number * pairs // count for number in range(count)]


def pilot_scales(pilot: Sums, axes: Sequence[int]) -> NDArray[np.float64]:
    """Return each component's mean |score| over the pilot pairs, float64 `[*axes]`.

    A component whose pilot scores are all zero, or that no pilot pair has, gets the mean of the others (1
    where there are none); none is below `SMALLEST` of that mean. `axes` may have
    another number of aligned positions than the pilot.
    """
    sizes = fitted(np.where(pilot["abs_a"] > 0, pilot["abs_a"], np.nan) / np.maximum(pilot["n"], 1), axes)
    missing = np.isnan(sizes)
    if missing.all():
        return np.ones(sizes.shape)
    mean = sizes[~missing].mean()
    sizes[missing] = mean
    return np.clip(sizes, SMALLEST * mean, None)


def inclusion(
    scores: NDArray[Any],
    *,
    rate: float,
    pairs: int,
    scales: NDArray[Any] | None = None,
    floor: float = FLOOR,
    present: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Return the probability with which each cell of one pair and site is patched exactly.

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
        floor: expected draws of its own for each component, if `pairs` are as many.
        present: cells that the pair has, broadcast against `scores`; the others get 0. None: all.

    Returns:
        float64 of the same shape, positive wherever the cell is present and `rate` or `floor` is.
    """
    rows = None if present is None else np.broadcast_to(present, scores.shape)[None]
    return _inclusion(scores[None], rows, scales, rate=rate, pairs=pairs, floor=floor).reshape(scores.shape)


def draw(seed: int, site: str, pair: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return one uniform number in [0, 1) for each cell of a pair and site.

    The number at flat index i depends on (seed, site, pair, i) alone. It is word i of the counter-based
    generator Philox4x64 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") with the key
    (seed, hash of the site's name) and the pair's row number as the second word of its counter; raw words,
    because NumPy keeps these the same from version to version.
    """
    return uniform(seed, site, [pair], math.prod(shape)).reshape(shape)


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
    """Sample the cells of one pair and site; return the mask and the inclusion probabilities.

    Arguments as for `inclusion` and `draw`; `pair` is the pair's row number in the job. `scores` must have
    the pair's own shape: padding it with positions that it lacks would move the flat indices of the draws.
    """
    mask, probability = sample_many(
        scores[None],
        rate=rate,
        pairs=pairs,
        seed=seed,
        site=site,
        rows=[pair],
        scales=scales,
        floor=floor,
        present=None if present is None else np.broadcast_to(present, scores.shape)[None],
    )
    return mask[0], probability[0]


def sample_many(
    scores: NDArray[Any],
    *,
    rate: float,
    pairs: int,
    seed: int,
    site: str,
    rows: Sequence[int],
    scales: NDArray[Any] | None = None,
    floor: float = FLOOR,
    present: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Choose the cells of several pairs whose scores at a site have one shape, `[pair, *axes]`.

    `rows` are the pairs' row numbers in the job; `scales` broadcast against one pair's scores, `present`
    against those of all. A pair's mask and probabilities are, bit for bit, those that `sample` gives for it
    alone, whatever pairs are beside it.
    """
    probability = _inclusion(scores, present, scales, rate=rate, pairs=pairs, floor=floor)
    draws = uniform(seed, site, rows, math.prod(scores.shape[1:]))
    return draws.reshape(scores.shape) < probability, probability


def _inclusion(
    scores: NDArray[Any],
    present: NDArray[np.bool_] | None,
    scales: NDArray[Any] | None,
    *,
    rate: float,
    pairs: int,
    floor: float,
) -> NDArray[np.float64]:
    """Return the probabilities of `inclusion` for each of several pairs, `[pair, *axes]`.

    Every step is taken cell by cell, or sums a pair's own row from end to end: so no pair's numbers hang on
    the others, not even in their last bits.
    """
    if rate == floor == 0:
        return np.zeros(scores.shape)
    flat = len(scores), math.prod(scores.shape[1:])
    sizes, here = np.abs(scores, dtype=np.float64, order="C").reshape(flat), np.ones(flat, np.bool_)
    if present is not None:
        here = np.broadcast_to(present, scores.shape).reshape(flat)
        sizes = np.where(here, sizes, 0.0)
    assert np.isfinite(sizes).all(), "a score is not finite: such a pair must fail before it is sampled"
    even, share = EVEN * _own(rate, pairs, floor), expected_share(rate, pairs=pairs, floor=floor)
    shares = np.full(len(sizes), share)
    if scales is not None and share < 1:
        weights = _own(rate, pairs, floor) * (1 - EVEN) / np.asarray(scales, np.float64)
        weights += rate / 2 / np.mean(scales)
        sizes *= np.broadcast_to(weights, scores.shape[1:]).ravel()
        shares = _shares(sizes, here, even, share)
    return _fill(sizes, here, even, shares).reshape(scores.shape)


def uniform(seed: int, site: str, rows: Sequence[int], count: int, stream: int = 0) -> NDArray[np.float64]:
    """Return the result of `draw` for each of these pairs, `[pair, count]`.

    Another `stream`, the third word of the counter, gives other numbers.
    """
    philox = np.random.Philox(key=np.array([seed, _name_hash(site)], np.uint64))
    # Making a generator takes ten times as long as setting one back.
    start = philox.state
    start["state"]["counter"][2] = stream
    words = np.empty((len(rows), count), np.uint64)
    for number, row in enumerate(rows):
        start["state"]["counter"][1] = row
        philox.state = start
        words[number] = philox.random_raw(count)
    result: NDArray[np.float64] = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return result


@lru_cache(maxsize=64)
def _name_hash(site: str) -> int:
    return int.from_bytes(hashlib.blake2b(site.encode(), digest_size=8).digest(), "little")


def _own(rate: float, pairs: int, floor: float) -> float:
    """Return the share of every component's cells that is drawn for the component's own sake."""
    assert 0 <= rate <= 1, f"rate {rate} is not a share"
    return min(1.0, max(rate / 2, floor / max(pairs, 1)))


def fitted(values: NDArray[np.float64], axes: Sequence[int]) -> NDArray[np.float64]:
    """Return values for another number of aligned positions, NaN where there are more of them."""
    expanded = np.full(tuple(axes), np.nan)
    if not values.ndim:
        return expanded
    same = tuple(slice(0, min(have, want)) for have, want in zip(values.shape, axes, strict=True))
    expanded[same] = values[same]
    return expanded


def _shares(
    sizes: NDArray[np.float64], here: NDArray[np.bool_], even: float, share: float
) -> NDArray[np.float64]:
    """Return the share of each pair's cells to patch: `share` on average, more for a pair of large scores."""
    by_score = share - even
    times = np.minimum(LARGEST, sizes.sum(axis=1) / np.maximum(here.sum(axis=1), 1) / by_score)
    result: NDArray[np.float64] = np.minimum(1.0, even + by_score * (ALIKE + (1 - ALIKE) * times))
    return result


def _fill(
    sizes: NDArray[np.float64], here: NDArray[np.bool_], uniform: float, shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Spread each row's budget over its cells: `uniform` each, the rest by size, none above 1."""
    cells = here.sum(axis=1)
    below = here & (shares < 1)[:, None]
    # A round that leaves a row's cells as they were gives the row the same numbers again.
    while True:
        count = below.sum(axis=1)
        spare = shares * cells - uniform * count - (cells - count)
        probability = uniform + spare[:, None] * _parts(sizes, below)
        over = below & (probability > 1)
        if not over.any():
            return np.where(below, probability, here)
        below &= ~over


def _parts(sizes: NDArray[np.float64], below: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each of a row's cells below 1 its part of their size; where none has any, all the same part."""
    sized = np.where(below, sizes, 0.0)
    total = sized.sum(axis=1)
    empty = total == 0
    if empty.any():
        sized[empty] = below[empty]
        total[empty] = np.maximum(below[empty].sum(axis=1), 1)
    result: NDArray[np.float64] = sized / total[:, None]
    return result
