"""Neurons and edges: sites of so many components that of a pair only the largest are kept."""

import numpy as np
import pytest

from patchgrid.core.graph import Graph
from patchgrid.estimates import Sums, estimate
from patchgrid.storage import Database, errors
from patchgrid.storage.chunks.provenance import job_graph
from patchgrid.storage.chunks.sums import pack_sums, read_sums
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.output.export import export_rows, fields_of, strongest_only
from patchgrid.storage.pair_results import pair_view
from patchgrid.storage.results import components, plots
from support.storage.chunk_results import GRAPH, NEURONS, make_spec, pair_scores
from support.storage.storage_backends import run_job, submit_job

EDGES = make_spec(sites=("edge",), method="eap,eap-ig", exact=0.2)
NODES = make_spec(sites=("z", "mlp_post"), method="atp,relp", exact=0.2)


def exported(database: Database, job: JobRecord, what: str, method: str | None = None) -> list[dict]:
    """Return the rows of an export."""
    return list(export_rows(database, job, what, method))


def test_edges_are_components_with_names(database: Database) -> None:
    """By number; layer and head are those of what they come from."""
    job = run_job(database, submit_job(database, 7, spec=EDGES))
    with database.read() as session:
        rows = components.components(session, job)
        assert job_graph(session, job.id) == GRAPH
    assert [row.name for row in rows] == list(GRAPH.names)
    for number, row in enumerate(rows):
        scores = [pair_scores(index, "edge")[number].sum() for index in range(7)]
        assert row.mean == pytest.approx(np.mean(scores, dtype=np.float64))
        component = GRAPH.component(number)
        assert (row.layer, row.index) == (component.layer, component.index)


def test_the_top_is_the_largest_of_all_components(database: Database) -> None:
    """As sorting all of them gives it, ties and all."""
    for spec in (EDGES, NODES):
        job = run_job(database, submit_job(database, 7, spec=spec, key=",".join(spec.query.method_names)))
        with database.read() as session:
            everything = components.components(session, job)
            for by in components.ORDERS:
                top = components.top(session, job, 9, by)

                def size(row: components.ComponentRow, by: str = by) -> float:
                    value = getattr(row, by)
                    return abs(row.mean if value is None else value)  # type: ignore[arg-type]

                assert top == sorted(everything, key=size, reverse=True)[:9]
            only = components.top(session, job, 3, sites=job.spec.query.sites[-1:])
            assert {row.site for row in only} == {job.spec.query.sites[-1]}


def test_a_pair_keeps_its_largest_edges_as_rows(database: Database) -> None:
    """Twenty, the largest first, and no blob."""
    job = run_job(database, submit_job(database, 5, spec=EDGES))
    with database.read() as session:
        view = pair_view.pair(session, job, 3)
        other = pair_view.pair(session, job, 3, "eap-ig")
    scores = pair_scores(3, "edge").sum(axis=1)
    largest = np.argsort(-np.abs(scores), kind="stable")[:20]
    assert [one.name for one in view.top] == [GRAPH.name(int(number)) for number in largest]
    assert [one.score for one in view.top] == pytest.approx(scores[largest].tolist())
    assert (view.scores, other.scores, other.top) == ({}, {}, ())


def test_neurons_stand_beside_the_components_of_other_sites(database: Database) -> None:
    """Five of the others and twenty neurons of each pair, in one order; only the others have blobs."""
    job = run_job(database, submit_job(database, 5, spec=NODES))
    with database.read() as session:
        view = pair_view.pair(session, job, 2)
    assert set(view.scores) == {"z"}
    sizes = [abs(one.score) for one in view.top]
    assert sizes == sorted(sizes, reverse=True)
    assert [sum(one.site == site for one in view.top) for site in ("z", "mlp_post")] == [5, 20]
    neuron = next(one for one in view.top if one.site == "mlp_post")
    assert neuron.score == pytest.approx(pair_scores(2, "mlp_post").sum(axis=1)[neuron.layer, neuron.index])
    assert neuron.name == f"n{neuron.layer}.{neuron.index}"


def test_scores_of_a_very_large_site_export_the_largest(database: Database) -> None:
    """By the job's first method; by another there are none of that site."""
    job = run_job(database, submit_job(database, 5, spec=NODES))
    assert strongest_only(job) == ("mlp_post",)
    by_site = {
        site: [row for row in exported(database, job, "scores") if row["site"] == site]
        for site in NODES.query.sites
    }
    assert {site: len(rows) for site, rows in by_site.items()} == {"z": 5 * 6, "mlp_post": 5 * 20}
    for row in by_site["mlp_post"]:
        scores = pair_scores(row["pair"], "mlp_post").sum(axis=1)
        assert row["score"] == pytest.approx(scores[row["layer"], row["unit"]])
    assert {row["site"] for row in exported(database, job, "scores", "relp")} == {"z"}
    edges = run_job(database, submit_job(database, 5, spec=EDGES, key="edges"))
    with pytest.raises(errors.NothingKept, match="--detail positions"):
        export_rows(database, edges, "scores", "eap-ig")


@pytest.mark.parametrize("spec", [EDGES, NODES], ids=["edges", "neurons"])
def test_exports_have_the_edge_behind_the_other_fields(database: Database, spec: object) -> None:
    """Where there are edges; `unit` is filled where there are neurons."""
    job = run_job(database, submit_job(database, 5, spec=spec))  # type: ignore[arg-type]
    for what in ("scores", "exact", "components"):
        for row in exported(database, job, what):
            assert tuple(row) == fields_of(job, what)
            if spec is EDGES:
                assert tuple(row)[-1] == "edge"
                assert GRAPH.component(GRAPH.number_of(row["edge"])).layer == row["layer"]
            else:
                assert (row["unit"] is None) == (row["site"] == "z")
                assert "edge" not in row


def test_every_position_of_a_very_large_site_can_be_kept(database: Database) -> None:
    """As a blob; and aligned sums, where positions are components."""
    for spec in (EDGES, NODES):
        kept = make_spec(
            sites=spec.query.sites,
            method=spec.query.method_names,
            exact=0.1,
            detail="positions",
            positions="keep",
        )
        job = run_job(database, submit_job(database, 5, spec=kept, key=",".join(spec.query.method_names)))
        site = job.spec.query.sites[-1]
        with database.read() as session:
            view = pair_view.pair(session, job, 4)
            rows = components.components(session, job, sites=(site,))
            assert job_progress(session, job.id).chunks_total == 2
        np.testing.assert_array_equal(view.scores[site], pair_scores(4, site))
        assert {row.position for row in rows} == {-1, -2, -3, -4, -5}
        last = [row for row in rows if row.position == -1]
        assert len(last) == (GRAPH.count if site == "edge" else 2 * NEURONS)
        means = np.mean([pair_scores(index, site)[:, -1] for index in range(5)], axis=0, dtype=np.float64)
        assert [row.mean for row in last] == pytest.approx(means.ravel().tolist())


def test_positions_that_were_not_kept_are_not_drawn(database: Database) -> None:
    """The error says how they would be."""
    job = run_job(database, submit_job(database, 5, spec=NODES))
    with database.read() as session:
        assert plots.heatmap(session, job, "z", "aligned").columns == (-5, -4, -3, -2, -1)
        with pytest.raises(errors.NothingKept, match=r"mlp_post by position.*--positions keep"):
            plots.heatmap(session, job, "mlp_post", "aligned")


def drawn_sums(components_: int, cells: int, *, aligned: bool = False) -> Sums:
    """Return sums of 64 pairs at a site of very many components, with a number of sampled cells."""
    rng = np.random.default_rng(0)
    axes = (2, 3, components_ // 2) if aligned else (components_,)
    sums = Sums.zeros(axes, sampled=True, aligned=aligned)
    for length in (3, 2) if aligned else (1,):
        shape = (32, 2, length, components_ // 2) if aligned else (64, components_)
        sums.add_pairs(rng.normal(size=shape).astype(np.float32), total_effects=rng.normal(size=shape[0]))
    index = tuple(rng.integers(0, size, cells) for size in axes)
    sums.add_cells(index, *rng.normal(size=(2, cells)), rng.uniform(0.1, 1, cells), rng.normal(size=cells))
    return sums


@pytest.mark.parametrize("aligned", [False, True])
def test_sums_of_many_components_come_back_to_the_last_bit(aligned: bool) -> None:
    """However they are written."""
    sums = drawn_sums(8192, 500, aligned=aligned)
    back = read_sums(pack_sums(sums), "the sums")
    np.testing.assert_array_equal(back.to_array(), sums.to_array())
    assert (back.aligned, back.names) == (sums.aligned, sums.names)


def test_sums_without_cells_come_back_too() -> None:
    """Sampled or not, nothing drawn."""
    for sampled in (True, False):
        sums = Sums.zeros((5000,), sampled=sampled)
        sums.add_pairs(np.ones((3, 5000), np.float32))
        np.testing.assert_array_equal(read_sums(pack_sums(sums), "the sums").to_array(), sums.to_array())


def test_sums_of_many_components_take_a_small_part_of_their_size() -> None:
    """GPT-2 small's edges, a cell in a thousand patched: three sums of each component, and little more."""
    edges = Graph(12, 12, 12).count
    sums = drawn_sums(edges, edges * 64 // 1000)
    assert len(pack_sums(sums)) < 3.5 * 8 * edges + 26 * 8 * edges * 64 / 1000
    assert len(pack_sums(sums)) < sums.to_array().nbytes / 5


def test_large_sums_add_up_over_chunks(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the estimates of the same sums written plainly."""
    plain = run_job(database, submit_job(database, 11, spec=EDGES, key="plain"))
    monkeypatch.setattr("patchgrid.storage.chunks.sums.FROM", 1)
    compact = run_job(database, submit_job(database, 11, spec=EDGES, key="compact"))
    with database.read() as session:
        for kind in plain.kinds("edge"):
            one, other = (components.job_sums(session, job, "edge", kind) for job in (plain, compact))
            assert one is not None
            assert other is not None
            np.testing.assert_array_equal(one.to_array(), other.to_array())
            np.testing.assert_array_equal(estimate(one).estimate, estimate(other).estimate)
