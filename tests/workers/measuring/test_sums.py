"""A chunk's sums over pairs, against sums made one score at a time."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from patchgrid.core.sites import HEAD_SITES
from patchgrid.engine import Engine, JobSpec, Pair, PairResult
from patchgrid.estimates import Sums
from patchgrid.workers.measuring.chunk import measure_chunk
from patchgrid.workers.measuring.components import Scores
from support.workers.working import LONG_ANSWER, MISMATCHED, job_of, make_pairs

SITES = ("z", "resid_mid", "mlp_out")
#: (layer, column or None, head or None) to the score of each pair that has the component.
ByComponent = dict[tuple[int, int | None, int | None], list[float]]


def spec_of(**values: object) -> JobSpec:
    """Return a spec over three sites; nothing is patched exactly."""
    return JobSpec.of(**({"model": "tiny", "sites": SITES, "exact": 0.0} | values))  # type: ignore[arg-type]


def single_scores(result: PairResult, site: str) -> dict[tuple[int, int, int | None], float]:
    """Return a pair's scores one by one: (layer, position, head) to score."""
    scores = result.scores["atp"][site]
    return {
        (place[0], place[1], place[2] if site in HEAD_SITES else None): float(scores[place])
        for place in np.ndindex(scores.shape)
    }


def assert_sums(sums: Sums, expected: ByComponent) -> None:
    """Compare n, Σa, Σ|a| and Σa² of every component."""
    found = {name: sums[name] for name in ("n", "a", "abs_a", "aa")}
    assert np.count_nonzero(found["n"]) == len(expected)
    for (layer, column, head), scores in expected.items():
        at = tuple(part for part in (layer, column, head) if part is not None)
        values = np.array(scores)
        assert found["n"][at] == len(values)
        assert found["a"][at] == pytest.approx(values.sum(), rel=1e-5, abs=1e-6)
        assert found["abs_a"][at] == pytest.approx(np.abs(values).sum(), rel=1e-5, abs=1e-6)
        assert found["aa"][at] == pytest.approx((values**2).sum(), rel=1e-5, abs=1e-6)


def add_up(results: Sequence[PairResult], site: str, column_of: object) -> ByComponent:
    """Sum each pair's scores over the positions of a column; `column_of(pair, position, length)` names it."""
    totals: ByComponent = defaultdict(list)
    for number, result in enumerate(results):
        own: dict[tuple[int, int | None, int | None], float] = defaultdict(float)
        for (layer, position, head), score in single_scores(result, site).items():
            own[layer, column_of(number, position, len(result.tokens)), head] += score  # type: ignore[operator]
        for component, score in own.items():
            totals[component].append(score)
    return totals


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_sums_are_those_of_every_pair_s_scores(engine: Engine, direction: str) -> None:
    """Whole components: every pair's scores, each summed over its positions."""
    pairs = make_pairs(11)
    spec = spec_of(direction=direction, metric="prob_diff")
    chunk = measure_chunk(engine, job_of(spec, len(pairs)), 0, pairs, batch_tokens=64)
    results = engine.attribute(pairs, sites=SITES, direction=direction, metric="prob_diff")
    for site in SITES:
        assert_sums(chunk.sums[site, "whole"], add_up(results, site, lambda *_: None))


def test_positions_are_counted_from_the_end(engine: Engine) -> None:
    """Index 0 is every pair's last position, and only pairs of 18 tokens have the 18th."""
    pairs = make_pairs(11)
    chunk = measure_chunk(engine, job_of(spec_of(), len(pairs)), 0, pairs)
    results = engine.attribute(pairs, sites=SITES)
    for site in SITES:
        expected = add_up(results, site, lambda _pair, position, length: length - 1 - position)
        assert_sums(chunk.sums[site, "aligned"], expected)
    n = chunk.sums["mlp_out", "aligned"]["n"][0]
    assert n[0] == 11
    assert 0 < n[17] < 11


def test_the_longest_pair_need_not_come_first(engine: Engine) -> None:
    """Sums grow when a longer pair follows a shorter one."""
    pairs = sorted(make_pairs(6), key=lambda pair: len(pair.clean))
    forward = measure_chunk(engine, job_of(spec_of(), len(pairs)), 0, pairs)
    backward = measure_chunk(engine, job_of(spec_of(), len(pairs)), 0, pairs[::-1])
    for site in SITES:
        found, expected = (chunk.sums[site, "aligned"].to_array() for chunk in (forward, backward))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_positions_are_put_together_by_spans(engine: Engine) -> None:
    """Positions add up within a span, those in none are the rest; a span that a pair lacks does not count."""
    bare = make_pairs(5)
    spans: list[dict[str, tuple[int, int]] | None] = [
        {"names": (1, 4), "end": (7, 9)},
        {"end": (8, 9)},
        {"names": (0, 2)},
        None,
        {"names": (0, 4), "end": (4, 9)},
    ]
    pairs = [replace(pair, spans=own) for pair, own in zip(bare, spans, strict=True)]
    names = ("names", "end")

    def column(number: int, position: int, _length: int) -> int:
        own = spans[number] or {}
        return next((names.index(name) for name, span in own.items() if position in range(*span)), 2)

    for spec in (spec_of(), spec_of(positions="keep")):
        chunk = measure_chunk(engine, job_of(spec, len(pairs), spans=names), 0, pairs)
        results = engine.attribute(pairs, sites=SITES)
        for site in SITES:
            expected = add_up(results, site, column)
            assert chunk.sums[site, "aligned"].axes[1] == 3
            assert_sums(chunk.sums[site, "aligned"], expected)
            assert len(expected[0, 0, 0 if site == "z" else None]) == 3


def test_failed_pairs_never_enter_sums(engine: Engine) -> None:
    """A pair that cannot be measured leaves the sums, scores and cells of the others as they were."""
    good = make_pairs(6)
    mixed: list[Pair] = [MISMATCHED, *good[:3], LONG_ANSWER, *good[3:]]
    spec = spec_of(exact=0.5)
    chunk = measure_chunk(engine, job_of(spec, len(mixed)), 0, mixed)
    alone = measure_chunk(engine, job_of(spec_of(), len(good)), 0, good)
    assert [outcome.state for outcome in chunk.outcomes] == ["failed", *["done"] * 3, "failed", *["done"] * 3]
    assert "differ in length" in str(chunk.outcomes[0].error)
    assert "2 tokens" in str(chunk.outcomes[4].error)
    for key, sums in alone.sums.items():
        found = chunk.sums[key].to_array()[:4]
        np.testing.assert_allclose(found, sums.to_array(), rtol=1e-5, atol=1e-6)
    for site in SITES:
        for found, expected in zip(chunk.scores[site], alone.scores[site], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert {cell.row for cell in chunk.exact} <= {1, 2, 3, 5, 6, 7}


def random_results(*lengths: int) -> list[PairResult]:
    """Make scores of pairs of these lengths, as an engine would give them."""
    rng = np.random.default_rng(0)
    return [
        PairResult(
            {
                "atp": {
                    "z": rng.normal(size=(3, length, 4)).astype(np.float32),
                    "mlp_out": rng.normal(size=(3, length)).astype(np.float32),
                }
            },
            tokens=("a",) * length,
        )
        for length in lengths
    ]


@pytest.mark.parametrize("spans", [(), ("names",)])
def test_a_pair_s_scores_are_arranged_alike_whatever_pairs_are_beside_it(spans: tuple[str, ...]) -> None:
    """To the last bit: what is drawn must not hang on how pairs fall into batches."""
    results = random_results(9, 20, 9, 1, 140, 20)
    pairs = [Pair("a", "b", " c", " d", spans={"names": (0, 1)}) for _ in results]
    together = Scores(pairs, spans, ("atp",))
    together.add(range(len(pairs)), results)
    for place, (pair, result) in enumerate(zip(pairs, results, strict=True)):
        alone = Scores([pair], spans, ("atp",))
        alone.add([0], [result])
        for site, kind in itertools.product(("z", "mlp_out"), ("whole", "aligned")):
            [(_, own)] = alone.stacks(kind, site, [0])
            stacked = [(places, stack) for places, stack in together.stacks(kind, site, range(6))]
            [found] = [stack.values[places.index(place)] for places, stack in stacked if place in places]
            assert found.tobytes() == own.values[0].tobytes()
        np.testing.assert_allclose(alone.whole(0, "z"), result.scores["atp"]["z"].sum(axis=1), rtol=1e-4)


def test_scores_that_are_not_finite_fail_their_own_pair_alone() -> None:
    """NaN, and infinities that cancel out, at any site."""
    results = random_results(4, 6, 4, 6)
    results[0].scores["atp"]["mlp_out"][1, 2] = np.nan
    results[3].scores["atp"]["z"][0, :2, 1] = np.inf, -np.inf
    scores = Scores([Pair("a", "b", " c", " d")] * 4, (), ("atp",))
    scores.add(range(4), results)
    assert scores.good(range(4)) == [1, 2]
    assert str(scores.errors[0]).startswith("the scores of mlp_out are not finite")
    assert str(scores.errors[3]).startswith("the scores of z are not finite")
    assert all(np.isfinite(scores.whole(place, "z")).all() for place in (1, 2))


def test_a_chunk_of_failed_pairs_has_outcomes_only(engine: Engine) -> None:
    """Nothing to sum, nothing to keep, no crash."""
    pairs = [MISMATCHED, LONG_ANSWER]
    chunk = measure_chunk(engine, job_of(spec_of(exact=0.5), len(pairs)), 8, pairs)
    assert [(outcome.index, outcome.state) for outcome in chunk.outcomes] == [(8, "failed"), (9, "failed")]
    assert not chunk.sums
    assert not chunk.exact
    assert not any(chunk.scores.values())


@pytest.mark.parametrize("detail", ["summary", "pairs", "positions"])
def test_detail_says_what_is_kept_of_a_pair(engine: Engine, detail: str) -> None:
    """Nothing; scores summed over positions; every position. The sums are there in any case."""
    pairs = make_pairs(4)
    chunk = measure_chunk(engine, job_of(spec_of(detail=detail), len(pairs)), 0, pairs)
    results = engine.attribute(pairs, sites=SITES)
    assert set(chunk.scores) == (set() if detail == "summary" else set(SITES))
    for site, kept in chunk.scores.items():
        for found, result in zip(kept, results, strict=True):
            expected = result.scores["atp"][site]
            expected = expected if detail == "positions" else expected.sum(axis=1)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert set(chunk.sums) == {(site, kind) for site in SITES for kind in ("whole", "aligned")}


def test_outcomes_tell_tokens_and_metrics(engine: Engine) -> None:
    """What is told of a pair is what the engine gives for it, under its row number in the job."""
    pairs = make_pairs(3)
    chunk = measure_chunk(engine, job_of(spec_of(), len(pairs)), 64, pairs)
    for place, (outcome, result) in enumerate(zip(chunk.outcomes, engine.attribute(pairs), strict=True)):
        assert outcome.index == 64 + place
        assert outcome.tokens == result.tokens
        assert outcome.corrupted_tokens == result.corrupted_tokens
        assert outcome.clean_metric == pytest.approx(result.clean_metric, rel=1e-5)
        assert outcome.corrupted_metric == pytest.approx(result.corrupted_metric, rel=1e-5)
