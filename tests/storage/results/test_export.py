"""Exports hold every number once, in an order that depends on nothing but the job."""

import numpy as np
import pytest

from patchgrid.core.errors import SpecError
from patchgrid.storage import Database, errors, tables
from patchgrid.storage.jobs import deletion, jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.export import FIELDS, export_rows
from patchgrid.storage.queue import control
from patchgrid.storage.results import components
from support.storage.chunk_results import HEADS, LAYERS, make_pairs, make_spec, pair_cells, pair_scores
from support.storage.storage_backends import run_chunk, run_job, submit_job


def export(database: Database, job: JobRecord, what: str) -> list[dict[str, object]]:
    """Return an export's rows, their fields checked."""
    rows = list(export_rows(database, job, what))
    assert all(tuple(row) == FIELDS[what] for row in rows)
    return rows


def test_scores_over_positions_are_exported_by_pair_site_layer_head(database: Database) -> None:
    """Failed pairs have none."""
    job = run_job(database, submit_job(database, 6, pairs=make_pairs(6, named=True)), failed={2})
    rows = export(database, job, "scores")
    wanted = [
        (f"pair-{index}", site, layer, head)
        for index in (0, 1, 3, 4, 5)
        for site, heads in (("z", range(HEADS)), ("mlp_out", (None,)))
        for layer in range(LAYERS)
        for head in heads
    ]
    assert [(row["pair"], row["site"], row["layer"], row["head"]) for row in rows] == wanted
    assert {(row["unit"], row["position"]) for row in rows} == {(None, None)}
    scores = [
        pair_scores(index, site).sum(axis=1).ravel() for index in (0, 1, 3, 4, 5) for site in ("z", "mlp_out")
    ]
    np.testing.assert_array_equal([row["score"] for row in rows], np.concatenate(scores))


def test_scores_by_position_are_exported_with_the_pairs_own_positions(database: Database) -> None:
    """From 0, within layer and head; pairs without ids go by row number."""
    job = run_job(database, submit_job(database, 6, spec=make_spec(detail="positions")))
    rows = export(database, job, "scores")
    assert len(rows) == sum((LAYERS * HEADS + LAYERS) * (3 + index % 3) for index in range(6))
    of_five = [row for row in rows if row["pair"] == 5 and row["site"] == "z"]
    assert [(row["layer"], row["head"], row["position"]) for row in of_five] == [
        (layer, head, position) for layer in range(LAYERS) for head in range(HEADS) for position in range(5)
    ]
    for row in of_five:
        assert row["score"] == pair_scores(5, "z")[row["layer"], row["position"], row["head"]]  # type: ignore[index]


@pytest.mark.parametrize("positions", ["sum", "keep"])
def test_exact_cells_are_exported_with_score_effect_and_inclusion(database: Database, positions: str) -> None:
    """A position is the pair's own, from 0."""
    job = run_job(database, submit_job(database, 6, spec=make_spec(positions=positions)))
    rows = export(database, job, "exact")
    cells = [cell for index in range(6) for site in ("z", "mlp_out") for cell in pair_cells(job, index, site)]
    order = ("z", "mlp_out").index
    cells.sort(key=lambda c: (c.row, order(c.site), c.layer, c.index or 0, c.position or 0))
    assert [(row["pair"], row["site"], row["layer"], row["head"], row["position"]) for row in rows] == [
        (cell.row, cell.site, cell.layer, cell.index, cell.position) for cell in cells
    ]
    for name in ("score", "effect", "inclusion"):
        np.testing.assert_allclose([row[name] for row in rows], [getattr(cell, name) for cell in cells])  # type: ignore[arg-type]
    if positions == "keep":
        assert {row["position"] for row in rows} == {0, 1, 2, 3, 4}


def test_exact_cells_of_spans_are_exported_by_the_spans_name(database: Database) -> None:
    """In the order of the spans, the rest last."""
    spec = make_spec(positions="keep", exact=1)
    job = run_job(
        database, submit_job(database, pairs=make_pairs(3, spans=True), spec=spec, spans=("subject",))
    )
    rows = export(database, job, "exact")
    assert [row["position"] for row in rows] == ["subject", "(rest)"] * (len(rows) // 2)


def test_components_are_exported_as_they_are_asked_for(database: Database) -> None:
    """The same numbers."""
    job = run_job(database, submit_job(database, 10))
    with database.read() as session:
        rows = components.components(session, job)
    place, fields = FIELDS["components"][:5], FIELDS["components"][5:]
    assert place == ("component", "site", "layer", "head", "unit")
    assert [tuple(row.values()) for row in export(database, job, "components")] == [
        (row.name, row.site, row.layer, row.index, None, *(getattr(row, name) for name in fields))
        for row in rows
    ]


def test_pairs_are_exported_done_failed_and_pending(database: Database) -> None:
    """Every pair has a row, from the start."""
    job = submit_job(database, 6)
    run_chunk(database, job, failed={1})
    rows = export(database, job, "pairs")
    assert [row["pair"] for row in rows] == list(range(6))
    assert rows[0] == {
        "pair": 0,
        "state": "done",
        "error": None,
        "tokens": ["t0", "t1", "t2"],
        "clean_metric": 0.0,
        "corrupted_metric": 0.0,
        "clean_preference": 1.5,
        "corrupted_preference": -0.5,
        "correct_tokens": [" a"],
        "incorrect_tokens": [" b", " seven"],
        "group": None,
    }
    lists: dict[str, list[str]] = {key: [] for key in ("tokens", "correct_tokens", "incorrect_tokens")}
    sides = ("clean_metric", "corrupted_metric", "clean_preference", "corrupted_preference")
    nothing = lists | dict.fromkeys((*sides, "group"))
    failed = {"state": "failed", "error": "the prompts differ in length"}
    assert rows[1] == {"pair": 1, **failed, **nothing}
    assert rows[5] == {"pair": 5, "state": "pending", "error": None, **nothing}


def test_exports_do_not_depend_on_the_chunks(database: Database) -> None:
    """Nor, then, on the machine that chose their size; sums alone may round otherwise."""
    small = run_job(database, submit_job(database, 12, key="small", chunk_size=2))
    large = run_job(database, submit_job(database, 12, key="large", chunk_size=12))
    for what in ("scores", "exact", "pairs"):
        assert export(database, small, what) == export(database, large, what)
    for one, other in zip(
        export(database, small, "components"), export(database, large, "components"), strict=True
    ):
        assert one == pytest.approx(other)


def test_what_a_job_did_not_keep_is_refused_at_once(database: Database) -> None:
    """Before a file is begun; the error says what to do."""
    job = run_job(database, submit_job(database, 2, spec=make_spec(detail="summary", exact=0)))
    with pytest.raises(errors.NothingKept, match="--detail pairs"):
        export_rows(database, job, "scores")
    with pytest.raises(errors.NothingKept, match="--exact"):
        export_rows(database, job, "exact")
    with pytest.raises(SpecError, match="did you mean 'scores'"):
        export_rows(database, job, "score")


def test_damaged_scores_stop_an_export(database: Database) -> None:
    """A wrong number is never written to a file."""
    job = run_job(database, submit_job(database, 8))
    with database.write() as session:
        table = tables.scores
        data = bytearray(session.execute(table.select().where(table.c.chunk_id == 2)).first().data)  # type: ignore[union-attr]
        data[-3] ^= 4
        session.execute(table.update().where(table.c.chunk_id == 2).values(data=bytes(data)))
    with pytest.raises(errors.CorruptData, match="scores of chunk 2"):
        export(database, job, "scores")


@pytest.mark.parametrize("what", FIELDS)
def test_a_slow_reader_of_an_export_holds_up_nobody(database: Database, what: str) -> None:
    """No transaction is open between two rows: SQLite's log can be written back, PostgreSQL can vacuum."""
    job = run_job(database, submit_job(database, 12))
    rows = export_rows(database, job, what)
    found = [next(rows)]
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    run_job(database, submit_job(database, 5, key="meanwhile"))
    found += rows
    assert found == export(database, job, what)


@pytest.mark.parametrize("what", ["scores", "exact", "pairs"])
def test_an_export_whose_job_is_deleted_or_reopened_has_no_quiet_end(database: Database, what: str) -> None:
    """What came so far would look like all there is."""
    job = run_job(database, submit_job(database, 12))
    rows = export_rows(database, job, what)
    next(rows)
    with database.write() as session:
        jobs.delete(session, job.id)
    with pytest.raises(errors.JobChanged, match=f"job {job.id} was deleted"):
        list(rows)
    job = submit_job(database, 12)
    rows = export_rows(database, job, "pairs")
    next(rows)
    with database.write() as session:
        deletion.begin(session, job.id)
    with pytest.raises(errors.JobChanged, match=f"job {job.id} was deleted"):
        list(rows)
    job = submit_job(database, 12)
    run_chunk(database, job)
    with database.write() as session:
        control.cancel(session, job.id)
        job = jobs.get(session, job.id)
    rows = export_rows(database, job, what)
    next(rows)
    with database.write() as session:
        jobs.reopen(session, job.id)
    with pytest.raises(errors.JobChanged, match="was cancelled and is running now"):
        list(rows)


def test_an_export_of_a_job_that_goes_on_gives_what_there_is_when_it_gets_there(database: Database) -> None:
    """Each pair once."""
    job = submit_job(database, 12)
    run_chunk(database, job)
    rows = export_rows(database, job, "pairs")
    states = [next(rows)["state"]]
    run_job(database, job)
    states += [row["state"] for row in rows]
    assert states == ["done"] * 12
