"""Jobs under several methods, and of neurons and edges, from pairs to answers, on a stand-in engine."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from patchgrid.core.methods import Method, RelP
from patchgrid.core.types import Component, JobSpec, Pair
from patchgrid.estimates import agreement, estimate
from patchgrid.storage import Database
from patchgrid.storage.chunks.chunk_result import ChunkResult
from patchgrid.storage.output.export import export_rows
from patchgrid.storage.pair_results import pair_view
from patchgrid.storage.results import components, verification
from patchgrid.workers.measuring.chunk import measure_chunk
from patchgrid.workers.measuring.isolate import measure_carefully
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.measuring.pilot import measure_pilot
from patchgrid.workers.runner import run_job
from patchgrid.workers.testing import (
    GRAPH,
    PATCHING,
    SCORING,
    StandIn,
    effect_of,
    load,
    make_pairs,
    site_scores,
)
from support.workers.working import job_of, measuring, submit

METHODS = ("atp", "relp", "ig")
SITES = ("k", "z", "mlp_post")


def spec_of(**values: object) -> JobSpec:
    """Return a spec of heads, key-value heads and neurons under three methods."""
    given = {"model": "a", "sites": SITES, "method": ",".join(METHODS), "exact": 0.2} | values
    return JobSpec.of(**given)  # type: ignore[arg-type]


@pytest.fixture
def engine() -> StandIn:
    """Return a stand-in engine."""
    return load(ModelKey("a"))


def measured(engine: StandIn, spec: JobSpec, pairs: Sequence[Pair], of: int = 300) -> ChunkResult:
    """Measure pairs as a chunk of a job of so many."""
    job = job_of(spec, of)
    return measure_chunk(engine, job, 0, pairs, pilot=measure_pilot(engine, job, range(len(pairs)), pairs))


@pytest.mark.parametrize("positions", ["sum", "keep"])
def test_the_sample_is_drawn_by_the_first_method_alone(engine: StandIn, positions: str) -> None:
    """The same cells, effects, probabilities and sums as in a job of that method; patched once."""
    pairs = make_pairs(12)
    several = measured(engine, spec_of(positions=positions), pairs)
    alone = measured(engine, spec_of(positions=positions, method="atp"), pairs)
    assert len(several.exact) > 30
    for cell, only in zip(several.exact, alone.exact, strict=True):
        assert dataclasses.replace(cell, others=()) == only
    for key, sums in alone.sums.items():
        np.testing.assert_array_equal(several.sums[key].to_array(), sums.to_array())


@pytest.mark.parametrize(("positions", "spans"), [("sum", ()), ("keep", ()), ("keep", ("name",))])
def test_every_cell_has_its_score_by_every_method(
    engine: StandIn, positions: str, spans: tuple[str, ...]
) -> None:
    """Whatever the components are: over all positions, by position or by span."""
    plain = make_pairs(12)
    pairs = (
        [Pair(p.clean, p.corrupted, " a", " b", spans={"name": (0, 2)}) for p in plain] if spans else plain
    )
    job = job_of(spec_of(positions=positions, detail="positions"), 300, spans=spans)
    chunk = measure_chunk(engine, job, 0, pairs)
    for cell in chunk.exact:
        for method, score in zip(METHODS, (cell.score, *cell.others), strict=True):
            scores = site_scores(pairs[cell.row], cell.site, method)[cell.layer, :, cell.index]
            if cell.span is not None:
                scores = scores[:2] if cell.span == "name" else scores[2:]
            expected = scores.sum() if cell.position is None else scores[cell.position]
            assert score == pytest.approx(expected, abs=1e-5)
    for method in METHODS[1:]:
        for site in SITES:
            kept = chunk.others[method].scores[site]
            np.testing.assert_array_equal(kept[3], site_scores(pairs[3], site, method))


def test_a_pair_whose_further_scores_are_not_finite_fails_alone(engine: StandIn) -> None:
    """As one whose first scores are; no other pair's numbers change."""
    pairs = make_pairs(6, {2: "INF"})
    chunk = measured(engine, spec_of(), pairs)
    errors = [outcome.error for outcome in chunk.outcomes]
    assert errors[2] == "the scores of k by relp are not finite: the metric's gradient is NaN or infinite"
    assert [error is None for error in errors] == [True, True, False, True, True, True]
    assert chunk.others["relp"].sums["z", "whole"]["n"].max() == 5
    assert {cell.row for cell in chunk.exact} == {0, 1, 3, 4, 5}


def test_measuring_pair_by_pair_gives_the_same_by_every_method(engine: StandIn) -> None:
    """Sums, scores, cells and costs."""
    pairs, job = make_pairs(7, {4: "RAISE"}), job_of(spec_of(), 300)
    careful = measure_carefully(engine, job, 0, pairs, measuring(engine, job), note=lambda _index: None)
    others = [pair for index, pair in enumerate(pairs) if index != 4]
    whole = measure_chunk(engine, job, 0, others)
    assert careful.outcomes[4].error is not None
    for method in METHODS[1:]:
        for key, sums in whole.others[method].sums.items():
            np.testing.assert_allclose(
                careful.others[method].sums[key].to_array()[:4], sums.to_array()[:4], rtol=1e-12, atol=1e-12
            )
    assert careful.cost == pytest.approx(whole.cost)


def test_costs_are_of_each_method_of_what_is_shared_and_of_patching(engine: StandIn) -> None:
    """Added up over the pairs."""
    chunk = measured(engine, spec_of(), make_pairs(5))
    assert chunk.cost == {**dict.fromkeys(("shared", *METHODS), 5 * SCORING), "exact": 5 * PATCHING}
    assert "exact" not in measured(engine, spec_of(exact=0.0), make_pairs(5)).cost


def test_edges_are_drawn_patched_and_summed_by_number(engine: StandIn) -> None:
    """Over all of the model's edges, each with its name for the engine."""
    pairs = make_pairs(10)
    chunk = measured(engine, JobSpec.of("a", method="eap,eap-ig", exact=0.2), pairs)
    assert chunk.provenance.graph == GRAPH.as_dict()
    sums = chunk.sums["edge", "whole"]
    assert sums.axes == (GRAPH.count,)
    assert ("edge", "aligned") not in chunk.sums
    assert int(sums["m"].sum()) == len(chunk.exact) > 50
    for cell in chunk.exact:
        assert cell.edge is not None
        component = Component.parse(cell.edge)
        assert (cell.layer, cell.index) == (component.layer, component.index)
        assert cell.effect == pytest.approx(effect_of(pairs[cell.row], component), abs=1e-5)
        assert sums["m"][GRAPH.number_of(cell.edge)] > 0


def test_what_is_patched_of_very_large_sites_goes_by_the_share_alone(engine: StandIn) -> None:
    """No component has thirty cells for its own sake, which short jobs of others have."""
    pairs = make_pairs(60)
    chunk = measured(
        engine, spec_of(sites=("z", "mlp_post"), exact=0.05, exact_per_component=30), pairs, of=60
    )
    cells = {site: sum(cell.site == site for cell in chunk.exact) for site in ("z", "mlp_post")}
    assert cells["mlp_post"] == pytest.approx(0.05 * 60 * 16, rel=0.5)
    assert cells["z"] == pytest.approx(0.525 * 60 * 6, rel=0.2)


def test_scores_come_by_position_only_where_something_is_made_of_it(engine: StandIn) -> None:
    """The engine is spared tens of thousands of numbers a position."""
    asked: list[object] = []

    class Asked(StandIn):
        def measure(self, pairs, choose, query, **options):  # type: ignore[no-untyped-def]
            asked.append((options["keep_positions"], query))
            return super().measure(pairs, choose, query, **options)

    listening = Asked(engine.provenance)
    for values in ({}, {"positions": "keep"}, {"detail": "positions"}):
        job = job_of(spec_of(source="zero", steps=7, **values), 300)
        measure_chunk(listening, job, 0, make_pairs(3))
    assert asked == [(kept, job.spec.query) for kept in (False, True, True)]


def test_the_pilot_asks_for_nothing_that_only_further_methods_take(engine: StandIn) -> None:
    """The others would take their time, and give scores that nobody reads. Patching takes none."""
    asked: list[tuple[Method, ...]] = []

    class Asked(StandIn):
        def attribute(self, pairs, query, **options):  # type: ignore[no-untyped-def]
            asked.append(query.methods)
            return super().attribute(pairs, query, **options)

    job = job_of(spec_of(method="relp,atp*,ig", path="site", grad_drop=True), 300)
    measure_pilot(Asked(engine.provenance), job, range(3), make_pairs(3))
    assert asked == [(RelP(),), ()]


@pytest.mark.parametrize(
    "spec",
    [spec_of(), spec_of(positions="keep"), JobSpec.of("a", method="eap-ig,eap", exact=0.2)],
    ids=["nodes", "positions", "edges"],
)
def test_answers_do_not_depend_on_the_chunks(engine: StandIn, tmp_path: Path, spec: JobSpec) -> None:
    """By any method; a whole job in chunks of 3 and of 50 pairs."""
    pairs = make_pairs(40)
    with Database.open(f"sqlite:///{tmp_path}/jobs.db") as database:
        jobs = [submit(database, spec, pairs, chunk_size=size, key=str(size)) for size in (3, 50)]
        for job in jobs:
            run_job(database, engine, job)
        with database.read() as session:
            for method in spec.query.method_names:
                small, large = (components.components(session, job, method=method) for job in jobs)
                for one, other in zip(small, large, strict=True):
                    assert (one.name, one.n, one.exact_n) == (other.name, other.n, other.exact_n)
                    assert (one.estimate or 0.0) == pytest.approx(other.estimate or 0.0, rel=1e-6, abs=1e-6)
                for what in ("exact", "scores"):
                    if (
                        what == "exact"
                        or spec.query.sites != ("edge",)
                        or method == spec.query.method_names[0]
                    ):
                        rows = [list(export_rows(database, job, what, method)) for job in jobs]
                        assert rows[0] == rows[1]
            view = pair_view.pair(session, jobs[0], 7)
            assert view.top == pair_view.pair(session, jobs[1], 7).top
            assert {row.method for row in verification.verification(session, jobs[0])} == set(
                spec.query.method_names
            )


def test_each_methods_estimates_come_near_the_same_truth(engine: StandIn) -> None:
    """Over many seeds: every method's intervals hold the mean of all exact effects as often as they say.

    And its agreement is that of all its cells, computed one by one.
    """
    pairs = make_pairs(200)
    truth = np.array(
        [
            [[effect_of(pair, Component("z", layer, head)) for head in range(3)] for layer in range(2)]
            for pair in pairs
        ]
    )
    everything = {
        method: np.array([site_scores(pair, "z", method).sum(axis=1) for pair in pairs]) for method in METHODS
    }
    covered: dict[str, list[np.ndarray]] = {method: [] for method in METHODS}
    pearson: dict[str, list[float]] = {method: [] for method in METHODS}
    for seed in range(40):
        spec = spec_of(sites=("z",), seed=seed, exact=0.1)
        chunk = measured(engine, spec, pairs, of=len(pairs))
        for number, method in enumerate(METHODS):
            part = chunk.sums if number == 0 else chunk.others[method].sums
            found = estimate(part["z", "whole"])
            np.testing.assert_allclose(found.mean, everything[method].mean(axis=0), atol=1e-5)
            covered[method].append(
                (found.ci_low <= truth.mean(axis=0)) & (truth.mean(axis=0) <= found.ci_high)
            )
            scores = [(cell.score, *cell.others)[number] for cell in chunk.exact]
            effects, inclusion = (
                [getattr(cell, name) for cell in chunk.exact] for name in ("effect", "inclusion")
            )
            pearson[method].append(agreement(scores, effects, inclusion).pearson)
    for method in METHODS:
        # The stand-in's effects are a line of the first method's scores: of that, intervals are points.
        assert np.mean(covered[method]) >= (0.9 if method != "atp" else 0.0)
        wanted = agreement(everything[method], truth, np.ones(truth.shape)).pearson
        assert np.mean(pearson[method]) == pytest.approx(wanted, abs=0.02)
