"""Which cells are patched exactly, and with what probability."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from patchgrid.estimates import Sums, expected_share, pilot_rows, pilot_scales, sample, sample_many
from patchgrid.estimates.sampling import draw, inclusion, uniform

SCORES = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=8), elements=st.floats(-1e6, 1e6, width=32)
)


#: Several pairs' scores `[pair, *axes]`, many of them equal or zero.
BATCHES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 200)) | hnp.array_shapes(min_dims=3, max_dims=4, max_side=7),
    elements=st.sampled_from([0, 1, -3, 1e4]) | st.floats(-1e6, 1e6, width=32),
)


@settings(deadline=None, max_examples=200)
@given(scores=SCORES, rate=st.floats(0.001, 1), pairs=st.integers(1, 100_000))
def test_probabilities_sum_to_the_budget(scores: NDArray[np.float32], rate: float, pairs: int) -> None:
    """Without scales: whatever exceeds 1 goes to other cells, so the expected size is what was asked for."""
    probability = inclusion(scores, rate=rate, pairs=pairs)
    budget = expected_share(rate, pairs=pairs) * scores.size
    assert probability.sum() == pytest.approx(budget, rel=1e-9)


@settings(deadline=None, max_examples=200)
@given(scores=SCORES, rate=st.floats(0.001, 1), pairs=st.integers(1, 100_000))
def test_no_probability_is_above_one_or_below_the_floor(
    scores: NDArray[np.float32], rate: float, pairs: int
) -> None:
    """Every cell can be drawn; the even part alone gives a component 9 draws where the job has the pairs."""
    probability = inclusion(scores, rate=rate, pairs=pairs)
    assert probability.max() <= 1
    assert (probability * pairs).min() >= 0.3 * min(30, pairs) * (1 - 1e-9)
    assert probability.min() >= 0.3 * rate / 2 * (1 - 1e-9)


def one_by_one(
    scores: NDArray[np.float32], *, rate: float, pairs: int, scales: NDArray[np.float64] | None
) -> list[float]:
    """Return the probabilities of one pair's cells `[cell]` by definition, with plain loops."""
    own = max(rate / 2, 30 / pairs)
    even, share = 0.3 * own, min(1.0, own + rate / 2)
    sizes = [abs(float(score)) for score in scores]
    if scales is not None:
        usual = sum(scales) / len(scales)
        sizes = [
            size * (0.7 * own / scale + rate / 2 / usual) for size, scale in zip(sizes, scales, strict=True)
        ]
        times = min(4.0, sum(sizes) / len(sizes) / (share - even))
        share = min(1.0, even + (share - even) * (0.5 + 0.5 * times))
    if share == 1:
        return [1.0] * len(sizes)
    left = set(range(len(sizes)))
    found = [1.0] * len(sizes)
    while left:
        rest = share * len(sizes) - (len(sizes) - len(left))
        total = sum(sizes[cell] for cell in left)
        for cell in left:
            by_size = (rest - even * len(left)) * sizes[cell] / total if total else 0.0
            found[cell] = even + by_size if total else rest / len(left)
        over = {cell for cell in left if found[cell] > 1}
        for cell in over:
            found[cell] = 1.0
        left -= over
        if not over:
            break
    return found


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.7])
@pytest.mark.parametrize("scaled", [True, False])
def test_probabilities_of_many_pairs_are_those_of_the_definition(rate: float, scaled: bool) -> None:
    """Written out a second time, for one pair; the pairs here are small, large, lopsided and zero."""
    rng = np.random.default_rng(2)
    base = rng.lognormal(0, 1.5, 40)
    scores = (base * rng.standard_t(2, (30, 40)) * rng.lognormal(0, 1, (30, 1))).astype(np.float32)
    scores[3], scores[4, 1:], scores[5, ::2] = 0, 0, 0
    scales = base if scaled else None
    rows = range(100, 130)
    _, found = sample_many(scores, rate=rate, pairs=2000, seed=0, site="z", rows=rows, scales=scales)
    expected = [one_by_one(row, rate=rate, pairs=2000, scales=scales) for row in scores]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert (found == 1).any() or rate < 0.1


@settings(deadline=None, max_examples=200)
@given(data=st.data(), scores=BATCHES, rate=st.floats(0.001, 1), pairs=st.integers(30, 100_000))
def test_a_pair_is_sampled_alone_as_among_any_others_in_any_order(
    data: st.DataObject, scores: NDArray[np.float32], rate: float, pairs: int
) -> None:
    """Masks and probabilities are the same to the last bit, with scales and absent cells and without."""
    rng = np.random.default_rng(scores.size)
    scales = rng.lognormal(size=scores.shape[1:]) if data.draw(st.booleans()) else None
    present = rng.random(scores.shape) < 0.7 if data.draw(st.booleans()) else None
    rows = rng.integers(0, 2**40, len(scores)).tolist()
    options = {"rate": rate, "pairs": pairs, "seed": 5, "site": "z", "scales": scales}
    picked = data.draw(st.permutations(range(len(scores))))[: data.draw(st.integers(1, len(scores)))]
    masks, probabilities = sample_many(
        scores[picked],
        rows=[rows[pair] for pair in picked],
        present=None if present is None else present[picked],
        **options,
    )
    for place, pair in enumerate(picked):
        own = None if present is None else present[pair]
        mask, probability = sample(scores[pair], pair=rows[pair], present=own, **options)
        assert masks[place].tobytes() == mask.tobytes()
        assert probabilities[place].tobytes() == probability.tobytes()


def test_how_scores_lie_in_memory_does_not_matter() -> None:
    """Positions turned round, as aligned scores are, or layers last."""
    scores = np.random.default_rng(0).standard_t(3, (5, 3, 20, 4)).astype(np.float32)
    options = {"rate": 0.1, "pairs": 2000, "seed": 5, "site": "z", "rows": range(5)}
    expected = sample_many(scores, **options)
    turned = np.ascontiguousarray(scores[:, :, ::-1])[:, :, ::-1]
    moved = np.ascontiguousarray(scores.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
    for same in (turned, moved):
        for found, wanted in zip(sample_many(same, **options), expected, strict=True):
            assert found.tobytes() == wanted.tobytes()


def test_every_component_gets_its_draws_however_small_its_scores() -> None:
    """Thirty expected draws each, by its own scores' size, and the large ones more."""
    rng = np.random.default_rng(0)
    scores = np.abs(rng.normal(1, 0.3, (1000, 4))) * np.array([0.01, 0.1, 1, 10])
    scales = pilot_scales(summed(scores[pilot_rows(1000)]), (4,))
    draws = np.stack([inclusion(row, rate=0.02, pairs=1000, scales=scales) for row in scores]).sum(axis=0)
    assert (draws[:3] > 27).all()
    assert draws[3] > 60
    assert draws.sum() == pytest.approx(4 * (30 + 10), rel=0.05)


def test_a_pair_in_which_a_component_is_large_is_drawn_more_often() -> None:
    """By how large it is for that component, be the component small or large."""
    scales = np.array([1.0, 100.0])
    usual = inclusion(np.array([1.0, 100.0]), rate=0.2, pairs=10_000, scales=scales)
    small = inclusion(np.array([3.0, 100.0]), rate=0.2, pairs=10_000, scales=scales)
    assert usual == pytest.approx([0.2, 0.3], abs=0.1)
    assert small[0] > 2 * usual[0]
    assert small[1] == pytest.approx(usual[1], rel=0.3)


def test_a_pair_of_large_scores_is_patched_more_and_one_of_small_ones_less() -> None:
    """Half of what goes by score follows the pair, up to four times an average one."""
    scales = np.full(50, 2.0)
    shares = [
        inclusion(np.full(50, size), rate=0.1, pairs=10_000, scales=scales).mean()
        for size in (0, 2.0, 4.0, 8.0, 800.0)
    ]
    # A twentieth of the cells is each component's own, 0.3 of that even; the rest goes by score.
    assert shares == pytest.approx([0.015 + 0.085 * times for times in (0.5, 1, 1.5, 2.5, 2.5)])


def test_the_pilot_is_spread_over_the_job() -> None:
    """A file sorted by anything still gives a fair pilot; a short one is its own."""
    assert pilot_rows(10) == list(range(10))
    assert pilot_rows(640) == list(range(0, 640, 10))
    rows = pilot_rows(1_000_001)
    assert len(set(rows)) == 64
    assert max(rows) > 980_000


def test_pilot_scales_are_mean_sizes_and_never_nothing() -> None:
    """A component that the pilot lacks, or that is zero in it, counts as an average one."""
    sums = Sums.zeros((1, 3), sampled=False, aligned=True)
    sums.add_pairs(np.array([[[1.0, -4.0, 0.0]], [[-3.0, 0.0, 0.0]]]))
    assert pilot_scales(sums, (1, 3)).tolist() == [[2, 2, 2]]
    sums.add_pairs(np.array([[[2.0, -8.0, 0.0]]]))
    assert pilot_scales(sums, (1, 5)).tolist() == [[2, 4, 3, 3, 3]]
    assert pilot_scales(sums, (1, 1)).tolist() == [[2]]
    assert pilot_scales(Sums.zeros((), sampled=False), (2, 2)).tolist() == [[1, 1], [1, 1]]
    assert pilot_scales(summed(np.zeros((4, 2))), (2,)).tolist() == [1, 1]
    assert pilot_scales(summed(np.array([[2.0, 1e-9]])), (2,)).tolist() == pytest.approx([2, 1e-3])


def summed(scores: NDArray[np.float64]) -> Sums:
    """Sum scores `[pair, component]`."""
    sums = Sums.zeros(scores.shape[1:], sampled=False)
    sums.add_pairs(scores)
    return sums


def test_larger_scores_have_larger_probabilities_whatever_their_sign() -> None:
    """All but the even part goes in proportion to |score| until a cell is certain."""
    probability = inclusion(np.array([0.0, 1.0, -2.0, 3.0, -4.0]), rate=0.2, pairs=10_000)
    assert probability == pytest.approx(0.03 + 0.17 * 5 * np.array([0, 1, 2, 3, 4]) / 10)


def test_excess_over_one_goes_to_the_others_in_proportion() -> None:
    """A cell that dominates is certain; its excess makes another certain, whose excess goes on."""
    probability = inclusion(np.array([1000.0, 1.0, 3.0, 1.0, 0.0]), rate=0.5, pairs=10_000)
    # The even part is 0.075; what is left of 2.5 in all is 1.2, shared out 1 : 3 : 1 and then 1 : 1.
    assert probability == pytest.approx([1, 0.315, 0.795, 0.315, 0.075])
    probability = inclusion(np.array([1000.0, 1.0, 8.0, 1.0, 0.0]), rate=0.5, pairs=10_000)
    assert probability == pytest.approx([1, 0.2125, 1, 0.2125, 0.075])


def test_scores_that_are_all_zero_share_the_budget_evenly() -> None:
    """Without any size to go by, the whole budget is uniform."""
    assert inclusion(np.zeros((2, 3)), rate=0.3, pairs=10_000) == pytest.approx(np.full((2, 3), 0.3))


def test_one_score_that_is_not_zero_leaves_the_budget_whole() -> None:
    """What the only sized cell cannot take goes to the cells of size zero."""
    probability = inclusion(np.array([0.0, 5.0, 0.0, 0.0]), rate=0.9, pairs=10_000)
    assert probability == pytest.approx([2.6 / 3, 1, 2.6 / 3, 2.6 / 3])


def test_rate_zero_samples_nothing_and_rate_one_everything() -> None:
    """The ends of the scale are exact: a census has probability 1, not nearly 1."""
    scores = np.random.default_rng(0).standard_t(3, (4, 7))
    assert not inclusion(scores, rate=0, pairs=100, floor=0).any()
    assert expected_share(0, pairs=100, floor=0) == 0
    assert expected_share(0, pairs=100, floor=20) == 0.2
    assert (inclusion(scores, rate=1, pairs=10_000) == 1).all()
    assert (inclusion(scores, rate=0.01, pairs=30) == 1).all()


def test_absent_cells_are_never_sampled_and_cost_nothing() -> None:
    """A pair without a component spends its budget on those that it has."""
    scores = np.array([[1.0, np.nan], [3.0, 2.0]])
    present = np.array([[True, False], [True, True]])
    mask, probability = sample(scores, rate=0.4, pairs=10_000, seed=0, site="z", pair=0, present=present)
    assert probability[~present] == 0
    assert not mask[~present].any()
    assert probability.sum() == pytest.approx(0.4 * 3)
    by_column = inclusion(np.ones((3, 2)), rate=0.4, pairs=10_000, present=np.array([True, False]))
    assert by_column == pytest.approx(np.array([[0.4, 0]] * 3))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_a_callers_mistake(bad: float) -> None:
    """A pair with such a score must have failed before."""
    with pytest.raises(AssertionError, match="not finite"):
        inclusion(np.array([1.0, bad]), rate=0.1, pairs=100)


def test_draws_are_those_of_the_first_release() -> None:
    """Frozen: a change here would change the sample of every job that is half done."""
    expected = [0.8414903333525207, 0.5702830001744316, 0.7102870359263683, 0.1134403779354366]
    assert draw(7, "mlp_out", 3, (4,)).tolist() == expected


def test_draws_follow_philox_as_published() -> None:
    """An independent Philox4x64-10, in plain integers, gives the same numbers."""
    name = int.from_bytes(hashlib.blake2b(b"z", digest_size=8).digest(), "little")
    words = [word for block in range(3) for word in _philox([block + 1, 41, 0, 0], [2**63 - 1, name])]
    assert draw(2**63 - 1, "z", 41, (3, 4)).ravel().tolist() == [(word >> 11) / 2**53 for word in words]


def _philox(counter: list[int], key: list[int]) -> list[int]:
    """Run ten rounds of Philox4x64 (Salmon et al. 2011, figure 2)."""
    full = 2**64
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
        counter = [
            (second // full) ^ counter[1] ^ key[0],
            second % full,
            (first // full) ^ counter[3] ^ key[1],
            first % full,
        ]
        key = [(key[0] + 0x9E3779B97F4A7C15) % full, (key[1] + 0xBB67AE8584CAA73B) % full]
    return counter


def test_a_draw_depends_on_its_own_cell_alone() -> None:
    """Seed, site, pair and flat index decide; how many cells follow does not."""
    base = draw(1, "z", 2, (6,))
    assert (draw(1, "z", 2, (3, 4)).ravel()[:6] == base).all()
    for other in (draw(2, "z", 2, (6,)), draw(1, "k", 2, (6,)), draw(1, "z", 3, (6,))):
        assert not np.isin(other, base).any()


@pytest.mark.parametrize("count", [1, 4, 7, 64])
def test_draws_of_many_pairs_are_those_of_a_generator_each(count: int) -> None:
    """Whatever words a generator has left over from the pair before."""
    rows = [3, 0, 2**50, 4, 3]
    name = int.from_bytes(hashlib.blake2b(b"z", digest_size=8).digest(), "little")
    for row, found in zip(rows, uniform(2**63 - 1, "z", rows, count), strict=True):
        key, counter = (np.array(words, np.uint64) for words in ([2**63 - 1, name], [0, row, 0, 0]))
        words = np.random.Philox(key=key, counter=counter).random_raw(count)
        assert found.tolist() == [(word >> 11) / 2**53 for word in words.tolist()]


def test_draws_are_uniform_and_unrelated_between_pairs() -> None:
    """Over 2,000 pairs each component's draws spread evenly and neighbours do not correlate."""
    draws = np.stack([draw(0, "resid_post", pair, (20,)) for pair in range(2000)])
    counts = np.histogram(draws, bins=20, range=(0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 45  # chi-squared, 19 degrees of freedom, p < 0.001
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 0.08
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.08


def test_cells_are_drawn_as_often_as_their_probability_says() -> None:
    """Over 4,000 seeds every cell's frequency is within 4.5 standard errors."""
    scores = np.random.default_rng(3).standard_t(3, (3, 5)).astype(np.float32)
    counts = np.zeros(scores.shape)
    for seed in range(4000):
        mask, probability = sample(scores, rate=0.2, pairs=500, seed=seed, site="z", pair=9)
        counts += mask
    error = np.sqrt(probability * (1 - probability) / 4000)
    assert (np.abs(counts / 4000 - probability) <= 4.5 * error).all()
