"""Sums over pairs: the same however the pairs are grouped, ordered and padded."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from patchgrid.estimates import Sums
from patchgrid.estimates.sums import CELL_SUMS, SCORE_SUMS

Chunk = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]


def chunk(pairs: int, axes: tuple[int, ...], seed: int = 0) -> Chunk:
    """Make scores, a sample's mask, effects and inclusion probabilities, all `[pair, *axes]`.

    The pairs' total effects are `totals` of the scores.
    """
    rng = np.random.default_rng(seed)
    scores = rng.standard_t(3, (pairs, *axes)).astype(np.float32)
    inclusion = rng.uniform(0.1, 1, scores.shape)
    return scores, rng.random(scores.shape) < inclusion, scores + rng.normal(size=scores.shape), inclusion


def totals(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return a total effect per pair, `[pair]`, the same in whichever group it is summed."""
    return 3 + scores[(slice(None), *(0,) * (scores.ndim - 1))].astype(np.float64)


def summed(
    part: Chunk,
    present: NDArray[np.bool_] | None = None,
    *,
    aligned: bool = False,
    one_by_one: bool = False,
    lines: NDArray[np.float64] | None = None,
) -> Sums:
    """Sum a chunk, at once or a pair at a time."""
    scores, mask, effects, inclusion = part
    if present is not None:
        mask = mask & present
    result = Sums.zeros(scores.shape[1:], sampled=True, aligned=aligned)
    for pick in [[i] for i in range(len(scores))] if one_by_one else [list(range(len(scores)))]:
        here = None if present is None else np.broadcast_to(present, scores.shape)[pick]
        result.add_pairs(scores[pick], here, total_effects=totals(scores)[pick])
        kept = mask[pick]
        cells = (scores[pick][kept], effects[pick][kept], inclusion[pick][kept])
        index = np.nonzero(kept)
        result.add_cells(index[1:], *cells, totals(scores)[pick][index[0]], lines)
    return result


def rows(part: Chunk, index: list[int]) -> Chunk:
    """Take some pairs of a chunk, in the order given."""
    scores, mask, effects, inclusion = part
    return scores[index], mask[index], effects[index], inclusion[index]


def test_every_sum_is_what_its_name_says() -> None:
    """Each is written out a second time here, over plain loops."""
    scores, mask, effects, inclusion = part = chunk(20, (2, 3))
    effects[::3] = 0
    inclusion[1] = 1
    lines = np.random.default_rng(9).normal(size=(3, 2, 3))
    sums = summed(part, lines=lines)
    for component in np.ndindex(2, 3):
        expected = dict.fromkeys(SCORE_SUMS + CELL_SUMS, 0.0)
        for pair in range(20):
            cell = (pair, *component)
            a, e, pi = float(scores[cell]), float(effects[cell]), float(inclusion[cell])
            d = float(totals(scores)[pair])
            for name, value in {"n": 1, "a": a, "abs_a": abs(a), "aa": a**2, "d": d}.items():
                expected[name] += value
            if not mask[cell]:
                continue
            w, r, v = 1 / pi, e - a, (1 - pi) / pi**2
            terms = {"m": 1, "ww": w**2, "w_signed": w * (e != 0), "w_agree": w * (a * e > 0)}
            for name, weight in {"w": w, "v": v}.items():
                terms |= {name: weight, f"{name}a": weight * a, f"{name}d": weight * d}
                terms |= {f"{name}r": weight * r, f"{name}aa": weight * a * a, f"{name}ad": weight * a * d}
                terms |= {f"{name}ar": weight * a * r, f"{name}dd": weight * d * d}
                terms |= {f"{name}dr": weight * d * r, f"{name}rr": weight * r * r}
            level, by_a, by_d = lines[:, *component]
            u = r - level - by_a * a - by_d * d
            terms |= {"sure": pi == 1, "vuu": v * u**2, "vvu4": v**2 * u**4}
            for name, value in terms.items():
                expected[name] += value
        assert {name: sums[name][component] for name in sums.names} == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(cuts=st.lists(st.integers(0, 30), max_size=5), order=st.permutations(range(30)))
def test_grouping_and_order_of_pairs_do_not_matter(cuts: list[int], order: list[int]) -> None:
    """Any chunks, in any order, one pair at a time or all at once, add up to the same."""
    part = chunk(30, (2, 4))
    whole = summed(part)
    edges = [0, *sorted(cuts), 30]
    total = Sums.zeros((2, 4), sampled=True)
    for first, last in itertools.pairwise(edges):
        total += summed(rows(part, order[first:last]))
    np.testing.assert_allclose(total.to_array(), whole.to_array(), rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(
        summed(part, one_by_one=True).to_array(), whole.to_array(), rtol=1e-12, atol=1e-9
    )


def test_many_pairs_are_added_in_bounded_blocks_with_the_same_result() -> None:
    """A chunk larger than one block is still summed whole, absent components left out."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(300, 20, 50)).astype(np.float32)
    present = rng.random((300, 20, 1)) < 0.5
    sums = Sums.zeros((20, 50), sampled=False)
    sums.add_pairs(scores, present)
    kept = np.where(present, scores.astype(np.float64), 0)
    np.testing.assert_allclose(sums["n"], np.broadcast_to(present.sum(axis=0), (20, 50)))
    np.testing.assert_allclose(sums["a"], kept.sum(axis=0), atol=1e-10)
    np.testing.assert_allclose(sums["abs_a"], np.abs(kept).sum(axis=0))
    np.testing.assert_allclose(sums["aa"], (kept**2).sum(axis=0))


def test_what_stands_in_an_absent_component_is_ignored() -> None:
    """Padding may hold anything, not-a-number included."""
    scores = np.array([[1.0, np.nan], [3.0, 4.0]])
    sums = Sums.zeros((2,), sampled=False)
    sums.add_pairs(scores, ~np.isnan(scores))
    assert sums["n"].tolist() == [2, 1]
    assert sums["a"].tolist() == [4, 4]


@pytest.mark.parametrize("axes", [(2, 5), (2, 5, 3)])
@pytest.mark.parametrize("longer_first", [True, False])
def test_aligned_sums_of_different_length_add_position_by_position(
    axes: tuple[int, ...], longer_first: bool
) -> None:
    """Index 0 is the last token of both; a shorter pair adds nothing to what it lacks."""
    long, short = chunk(4, axes, seed=1), chunk(6, (axes[0], 2, *axes[2:]), seed=2)
    parts = [summed(long, aligned=True), summed(short, aligned=True)]
    total = parts[0] + parts[1] if longer_first else parts[1] + parts[0]
    assert total.axes == axes
    assert (total["n"][:, :2] == 10).all()
    assert (total["n"][:, 2:] == 4).all()
    np.testing.assert_allclose(total.values[:, :, 2:], parts[0].values[:, :, 2:])
    np.testing.assert_allclose(total.values[:, :, :2], parts[0].values[:, :, :2] + parts[1].values)


def test_aligned_sums_grow_as_longer_pairs_come() -> None:
    """Adding to one accumulator equals padding all pairs beforehand and saying what is present."""
    long, short = chunk(1, (2, 5, 3), seed=1), chunk(1, (2, 2, 3), seed=2)
    grown = Sums.zeros((2, 1, 3), sampled=True, aligned=True)
    for scores, mask, effects, inclusion in (short, long, short):
        d = totals(scores)[0]
        cells = (scores[mask], effects[mask], inclusion[mask], np.full(mask.sum(), d))
        grown.add_cells(np.nonzero(mask)[1:], *cells)
        grown.add_pairs(scores[:1], total_effects=totals(scores)[:1])
    padded = [np.pad(x, ((0, 0), (0, 0), (0, 3), (0, 0)), constant_values=1) for x in short]
    together = tuple(np.concatenate([p, x, p]) for p, x in zip(padded, long, strict=True))
    present = np.array([[1, 1, 0, 0, 0], [1] * 5, [1, 1, 0, 0, 0]], bool)[:, None, :, None]
    expected = summed(together, present, aligned=True)  # type: ignore[arg-type]
    np.testing.assert_allclose(grown.to_array(), expected.to_array(), rtol=1e-12, atol=1e-12)


def test_sums_that_are_not_aligned_refuse_other_sizes() -> None:
    """Heads or layers never line up by padding."""
    with pytest.raises(AssertionError, match="do not fit"):
        Sums.zeros((2, 3), sampled=False) + Sums.zeros((2, 4), sampled=False)
    with pytest.raises(AssertionError, match="do not fit"):
        Sums.zeros((2, 3), sampled=False, aligned=True) + Sums.zeros((1, 4), sampled=False, aligned=True)
    with pytest.raises(AssertionError, match="aligned"):
        Sums.zeros((2, 3), sampled=False) + Sums.zeros((2, 3), sampled=False, aligned=True)


def test_cells_of_a_later_round_add_to_sums_of_scores_alone() -> None:
    """In either order: until then a job may have patched nothing."""
    scores, cells = Sums.zeros((2,), sampled=False), Sums.zeros((2,), sampled=True)
    scores.add_pairs(np.array([[1.0, 2.0], [3.0, 5.0]]))
    cells.add_cells((np.array([1]),), np.array([2.0]), np.array([2.5]), np.array([0.5]))
    for total in (scores + cells, cells + scores):
        assert total["n"].tolist() == [2, 2]
        assert total["a"].tolist() == [4, 7]
        assert total["m"].tolist() == [0, 1]
        assert total["wr"].tolist() == [0, 1]


def test_adding_makes_a_new_object_and_adding_in_place_does_not() -> None:
    """`a + b` leaves both alone; `a += b` changes a."""
    first, second = summed(chunk(3, (2, 2), seed=1)), summed(chunk(3, (2, 2), seed=2))
    before = first.to_array().copy()
    total = first + second
    assert (first.to_array() == before).all()
    first += second
    assert (first.to_array() == total.to_array()).all()


@pytest.mark.parametrize("sampled", [True, False])
def test_an_array_and_its_names_give_the_sums_back(sampled: bool) -> None:
    """Whatever order the names come in, and with the aligned axis still able to grow."""
    sums = Sums.zeros((2, 3), sampled=sampled, aligned=True)
    sums.add_pairs(np.arange(12, dtype=np.float32).reshape(2, 2, 3))
    array = sums.to_array()
    assert array.dtype == np.float64
    assert array.shape == (len(sums.names), 2, 3)
    back = Sums.from_array(array[::-1], sums.names[::-1], aligned=True)
    assert back.names == sums.names
    assert back.sampled == sampled
    assert (back.to_array() == array).all()
    assert (back + Sums.zeros((2, 9), sampled=sampled, aligned=True)).axes == (2, 9)


@pytest.mark.parametrize(
    ("score", "effect", "inclusion"),
    [(np.nan, 1.0, 0.5), (1.0, np.inf, 0.5), (1.0, 1.0, 0.0), (1.0, 1.0, 1.1), (1.0, 1.0, np.nan)],
)
def test_a_cell_that_cannot_be_is_a_callers_mistake(score: float, effect: float, inclusion: float) -> None:
    """No sum is spoilt silently."""
    sums = Sums.zeros((1,), sampled=True)
    with pytest.raises(AssertionError, match="not"):
        sums.add_cells((np.array([0]),), np.array([score]), np.array([effect]), np.array([inclusion]))
    with pytest.raises(AssertionError, match="not finite"):
        sums.add_pairs(np.array([[np.inf]]))
    with pytest.raises(AssertionError, match="not finite"):
        sums.add_pairs(np.array([[1.0]]), total_effects=np.array([np.nan]))


def test_sums_of_before_there_were_rounds_are_read() -> None:
    """They lack the number of sure cells, which follows from the others where all are sure."""
    sums = Sums.zeros((2,), sampled=True)
    sums.add_cells((np.array([0, 1]),), np.ones(2), np.ones(2), np.array([1.0, 0.5]))
    kept = [number for number, name in enumerate(sums.names) if name != "sure"]
    read = Sums.from_array(sums.to_array()[kept], [sums.names[number] for number in kept])
    np.testing.assert_array_equal(read.values, sums.values)
