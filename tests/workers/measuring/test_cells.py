"""The cells that a chunk patches exactly: which ones, what is measured, and what is summed."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from patchgrid.core.query import Query
from patchgrid.core.sites import HEAD_SITES
from patchgrid.engine import Component, Engine, JobSpec, Pair, PairResult, TextSpan
from patchgrid.engine.calls import Choose
from patchgrid.engine.results import Measured
from patchgrid.estimates import Sums, estimate, sample
from patchgrid.storage import Database
from patchgrid.storage.chunks.alignment import Alignment
from patchgrid.storage.chunks.chunk_result import ChunkResult, ExactCell
from patchgrid.storage.results.components import ComponentRow, components
from patchgrid.workers.measuring.chunk import measure_chunk
from patchgrid.workers.runner import run_job
from support.workers.working import exported, job_of, make_pairs, submit

SITES = ("z", "resid_mid", "mlp_out")
SPANS = ("names", "end")
#: Pairs of the job that a test's chunk is the beginning of; with few, every cell would be drawn.
JOB_PAIRS = 1000


def spec_of(**values: object) -> JobSpec:
    """Return a spec that patches a fifth of the cells."""
    return JobSpec.of(**({"model": "tiny", "sites": SITES, "exact": 0.2, "seed": 11} | values))  # type: ignore[arg-type]


def spanned(count: int) -> list[Pair]:
    """Return pairs with two spans, one, the other one, or none."""
    spans: list[dict[str, tuple[int, int]] | None] = [
        {"names": (1, 5), "end": (7, 9)},
        {"end": (6, 9)},
        {"names": (0, 4)},
        None,
    ]
    return [replace(pair, spans=spans[index % 4]) for index, pair in enumerate(make_pairs(count))]


def measured(engine: Engine, spec: JobSpec, pairs: list[Pair], spans: tuple[str, ...] = ()) -> ChunkResult:
    """Measure pairs as the first chunk of a long job."""
    return measure_chunk(engine, job_of(spec, JOB_PAIRS, spans=spans), 0, pairs)


def component_of(cell: ExactCell, pair: Pair, length: int) -> Component:
    """Name what a cell says was patched, in the pair's own positions."""
    position: int | tuple[int, ...] | None = cell.position
    if cell.span is not None:
        ranges = pair.spans or {}
        covered = {place for name in SPANS for place in range(*ranges.get(name, (0, 0)))}
        rest = tuple(place for place in range(length) if place not in covered)
        position = rest if cell.span == "(rest)" else tuple(range(*ranges[cell.span]))
    return Component(cell.site, cell.layer, cell.index, position=position)


@pytest.mark.parametrize(
    ("positions", "spans", "direction"),
    [("sum", (), "denoise"), ("sum", (), "noise"), ("keep", (), "denoise"), ("keep", SPANS, "denoise")],
)
def test_a_cell_s_effect_is_exact_patching_of_its_component(
    engine: Engine, positions: str, spans: tuple[str, ...], direction: str
) -> None:
    """Every cell against `Engine.patch` of its component in its pair alone, its score against `attribute`."""
    pairs = spanned(6) if spans else make_pairs(6)
    spec = spec_of(positions=positions, direction=direction, exact=0.05 if positions == "keep" else 0.2)
    chunk = measured(engine, spec, pairs, spans)
    results = engine.attribute(pairs, sites=SITES, direction=direction)
    assert {cell.site for cell in chunk.exact} >= {"z", "mlp_out"}
    for cell in chunk.exact[:: 1 + len(chunk.exact) // 40]:
        pair, scores = pairs[cell.row], results[cell.row].scores["atp"][cell.site]
        component = component_of(cell, pair, scores.shape[1])
        [[effect]] = engine.patch([pair], [component], direction=direction)
        assert cell.effect == pytest.approx(effect, rel=1e-4, abs=2e-6)
        chosen = slice(None) if component.position is None else component.position
        own = scores[cell.layer, chosen] if cell.index is None else scores[cell.layer, chosen, cell.index]
        assert cell.score == pytest.approx(np.sum(own), rel=1e-4, abs=2e-6)


@pytest.mark.parametrize(("positions", "spans"), [("sum", ()), ("keep", ()), ("keep", SPANS)])
def test_cells_are_those_that_sampling_gives(engine: Engine, positions: str, spans: tuple[str, ...]) -> None:
    """The cells and their inclusion are what `estimates.sample` says for each pair and site."""
    pairs = spanned(12) if spans else make_pairs(12)
    chunk = measured(engine, spec_of(positions=positions), pairs, spans)
    drawn = {
        (cell.row, cell.site, cell.layer, cell.index, cell.position, cell.span): cell.inclusion
        for cell in chunk.exact
    }
    expected: dict[tuple[object, ...], float] = {}
    for index, result in enumerate(engine.attribute(pairs, sites=SITES)):
        alignment = Alignment(spans)
        columns = alignment.columns(pairs[index], len(result.tokens), result.prefix)
        for site, scores in result.scores["atp"].items():
            values, present = scores.sum(axis=1), None
            if positions == "keep":
                values = np.stack([scores[:, list(column)].sum(axis=1) for column in columns], axis=1)
                has = [bool(column) for column in columns]
                present = np.reshape(has, (1, -1, *[1] * (values.ndim - 2)))
            mask, inclusion = sample(
                values, rate=0.2, pairs=JOB_PAIRS, seed=11, site=site, pair=index, present=present
            )
            for place in zip(*np.nonzero(mask), strict=True):
                head = int(place[-1]) if site in HEAD_SITES else None
                position = span = None
                if positions == "keep":
                    span = alignment.label(int(place[1]))
                    position = columns[place[1]][0] if span is None else None
                expected[index, site, int(place[0]), head, position, span] = float(inclusion[place])
    assert drawn.keys() == expected.keys()
    assert any(inclusion < 1 for inclusion in expected.values())
    for cell, inclusion in expected.items():
        assert drawn[cell] == pytest.approx(inclusion, rel=1e-4)


@pytest.mark.parametrize(("positions", "spans"), [("sum", ()), ("keep", ()), ("keep", SPANS)])
def test_cells_are_summed_at_their_own_component(
    engine: Engine, positions: str, spans: tuple[str, ...]
) -> None:
    """Number, Σw and Σw(effect - score) of every component, cell by cell; the other kind has none."""
    pairs = spanned(8) if spans else make_pairs(8)
    chunk = measured(engine, spec_of(positions=positions), pairs, spans)
    kind, other = ("whole", "aligned") if positions == "sum" else ("aligned", "whole")
    for site in SITES:
        sums = chunk.sums[site, kind]
        assert not chunk.sums[site, other].sampled
        expected: dict[tuple[int, ...], Any] = defaultdict(lambda: np.zeros(3))
        for cell in (cell for cell in chunk.exact if cell.site == site):
            w = 1 / cell.inclusion
            at = _place(cell, len(chunk.outcomes[cell.row].tokens), kind)
            expected[at] += np.array([1, w, w * (cell.effect - cell.score)])
        assert int(sums["m"].sum()) == sum(cell.site == site for cell in chunk.exact)
        for at, (m, w, wr) in expected.items():
            assert sums["m"][at] == m
            assert sums["w"][at] == pytest.approx(w)
            assert sums["wr"][at] == pytest.approx(wr, abs=1e-9)


def _place(cell: ExactCell, length: int, kind: str) -> tuple[int, ...]:
    column: tuple[int, ...] = ()
    if kind == "aligned":
        column = ((*SPANS, "(rest)").index(cell.span),) if cell.span else (length - 1 - (cell.position or 0),)
    return (cell.layer, *column, *(() if cell.index is None else (cell.index,)))


def test_exact_zero_patches_nothing(engine: Engine) -> None:
    """No cells, no sums of cells, and no forward pass beyond the two of each batch."""
    pairs = make_pairs(6)
    forwards = []
    model = engine._model.envoy._module
    with model.register_forward_pre_hook(lambda *_: forwards.append(1)):
        chunk = measure_chunk(engine, job_of(spec_of(exact=0.0), len(pairs)), 0, pairs, batch_tokens=10_000)
    assert len(forwards) == 2
    assert not chunk.exact
    assert not any(sums.sampled for sums in chunk.sums.values())


def test_the_share_of_finished_work_grows_from_nothing_to_all(engine: Engine) -> None:
    """What the progress bar sees never goes back nor past 1."""
    pairs = make_pairs(20)
    shares: list[float] = []
    job = job_of(spec_of(), JOB_PAIRS)
    measure_chunk(engine, job, 0, pairs, batch_tokens=64, on_share=shares.append)
    assert len(shares) > 10
    assert shares == sorted(shares)
    assert 0 < next(filter(None, shares)) < 0.2, "passes within a batch are told, and finish nothing"
    assert 0.9 < shares[-1] <= 1


CELL = ("pair", "site", "layer", "head", "position")


def worked_off(
    database: Database, engine: Engine, spec: JobSpec, pairs: list[Pair], chunk_size: int
) -> tuple[dict[str, list[dict[str, object]]], list[ComponentRow]]:
    """Run a job from start to end; give its rows and its components."""
    job = submit(database, spec, pairs, chunk_size=chunk_size, key=f"chunks of {chunk_size}")
    run_job(database, engine, job)
    with database.read() as session:
        return exported(database, job), components(session, job)


@pytest.mark.parametrize(("positions", "sites"), [("sum", ("z", "mlp_out")), ("keep", ("mlp_out",))])
def test_the_sample_is_the_same_whatever_the_chunks(
    engine: Engine, database: Database, positions: str, sites: tuple[str, ...]
) -> None:
    """Chunks of 7 and of 64 pairs: the same cells, and the same estimates to 1e-6."""
    pairs = make_pairs(70)
    spec = spec_of(positions=positions, exact=0.01, exact_per_component=30, sites=sites)
    small, large = (worked_off(database, engine, spec, pairs, size) for size in (7, 64))
    cells = [[tuple(row[name] for name in CELL) for row in rows["exact"]] for rows, _ in (small, large)]
    assert cells[0] == cells[1]
    assert len(cells[0]) > 200
    # Batches differ by rounding, a few 1e-6 of the site's mean score; here components have 1/30 of that mean.
    for left, right in zip(small[0]["exact"], large[0]["exact"], strict=True):
        assert left["inclusion"] == pytest.approx(right["inclusion"], rel=5e-4)
    for one, two in zip(small[1], large[1], strict=True):
        assert (one.name, one.n, one.exact_n) == (two.name, two.n, two.exact_n)
        for name in ("mean", "mean_abs", "std", "estimate", "ci_low", "ci_high"):
            left, right = getattr(one, name), getattr(two, name)
            assert (left is None) == (right is None), name
            # The ends of intervals follow the weights, whose inclusion differs as above.
            width = (two.ci_high or 0) - (two.ci_low or 0) if name.startswith("ci_") else 0
            slack = 1e-6 + 2e-3 * width
            assert left is None or left == pytest.approx(right, rel=1e-6, abs=slack), name


def test_the_order_of_chunks_does_not_matter(engine: Engine) -> None:
    """The last chunk measured first: the same cells and, added up, the same estimates."""
    pairs = make_pairs(30)
    job = job_of(spec_of(), JOB_PAIRS)
    starts = list(range(0, 30, 7))
    forward = {first: measure_chunk(engine, job, first, pairs[first : first + 7]) for first in starts}
    backward = {
        first: measure_chunk(engine, job, first, pairs[first : first + 7]) for first in reversed(starts)
    }
    for first in starts:
        assert forward[first].exact == backward[first].exact
    for site in SITES:
        one, two = (estimate(_total(chunks, site)) for chunks in (forward, backward))
        np.testing.assert_allclose(one.estimate, two.estimate, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(one.ci_high, two.ci_high, rtol=1e-6, atol=1e-6)


def _total(chunks: dict[int, ChunkResult], site: str) -> Sums:
    first, *others = (chunk.sums[site, "whole"] for chunk in chunks.values())
    return sum(others, start=first)


class AskedAgain:
    """An engine whose memory does not hold a batch: it asks for the batch, and then for its halves."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.provenance = engine, engine.provenance

    def measure(self, pairs: list[Pair], choose: Choose, query: Query, **options: Any) -> list[Measured]:
        """Measure pairs, their components chosen twice."""

        def halves(places: Sequence[int], results: Sequence[PairResult]) -> list[Sequence[Component]]:
            middle = len(places) // 2
            choose(places, results)
            first = choose(places[:middle], results[:middle])
            return [*first, *choose(places[middle:], results[middle:])]

        return self._engine.measure(pairs, halves, query, **options)


@pytest.mark.parametrize("positions", ["sum", "keep"])
def test_a_batch_asked_for_again_in_halves_draws_the_same_cells(engine: Engine, positions: str) -> None:
    """Not one cell twice, and none left out."""
    pairs, spec = make_pairs(9), spec_of(positions=positions)
    once = measured(engine, spec, pairs)
    again = measured(AskedAgain(engine), spec, pairs)  # type: ignore[arg-type]
    assert again.exact == once.exact
    for key, sums in once.sums.items():
        assert (again.sums[key].to_array() == sums.to_array()).all()


def test_another_seed_draws_other_cells(engine: Engine) -> None:
    """The sample hangs on the job's seed."""
    pairs = make_pairs(6)
    cells = [
        {
            (cell.row, cell.site, cell.layer, cell.index)
            for cell in measured(engine, spec_of(seed=seed), pairs).exact
        }
        for seed in (0, 1, 0)
    ]
    assert cells[0] == cells[2]
    assert cells[0] != cells[1]


def test_a_span_of_the_text_lies_behind_what_stands_before_it() -> None:
    """One of the prompt does not move."""
    pair = Pair("a b", "a c", "x", "y", spans={"text": TextSpan(0, 2), "prompt": (0, 1)})  # type: ignore[arg-type]
    columns = Alignment(("text", "prompt")).columns(pair, 5, 2)
    assert columns == ((2, 3), (0,), (1, 4))
