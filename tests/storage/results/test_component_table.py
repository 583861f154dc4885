"""The table `component_estimate` holds a finished job's answer, and nothing of any other job."""

from typing import Any

import numpy as np
import pytest
from sqlalchemy import Executable, delete, insert, select, update

from patchgrid.storage import Database, checking
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import closing, control, leases
from patchgrid.storage.results import component_table, components
from patchgrid.storage.tables import checksum, component_estimate
from support.storage.chunk_results import HEADS, LAYERS, make_pairs, make_spec, pair_scores
from support.storage.leasing import claim
from support.storage.storage_backends import run_chunk, run_job, submit_job

JOBS: dict[str, dict[str, Any]] = {
    "two methods": {"method": "relp,atp"},
    "nothing exact": {"exact": 0.0},
    "kept positions": {"detail": "positions", "positions": "keep"},
    "neurons": {"sites": ("z", "mlp_post")},
    "edges": {"method": "eap", "sites": ("edge",)},
}
_NUMBERS = ("n", "mean", "mean_abs", "std", "estimate", "ci_low", "ci_high", "exact_n")


def table_rows(database: Database, job: JobRecord) -> list[dict[str, Any]]:
    """Return the job's rows, by method and rank."""
    with database.read() as session:
        found = session.execute(
            select(component_estimate)
            .where(component_estimate.c.job_id == job.id)
            .order_by(*component_estimate.primary_key)
        )
        return [dict(row) for row in found.mappings()]


@pytest.mark.parametrize("values", JOBS.values(), ids=JOBS)
def test_a_finished_job_has_the_rows_of_results_top(database: Database, values: dict[str, Any]) -> None:
    """Every component once by each method, in the same order and with the same numbers."""
    job = run_job(database, submit_job(database, spec=make_spec(**values)))
    rows = table_rows(database, job)
    for method in job.estimators:
        mine = [row for row in rows if row["method"] == method]
        with database.read() as session:
            top = components.top(session, job, 10_000, method=method)
        assert [row["rank"] for row in mine] == [*range(1, len(top) + 1)]
        for row, wanted in zip(mine, top, strict=True):
            position = row["position"] if row["span"] is None else row["span"]
            at = "" if position is None else f"@{position}"
            assert (row["site"], row["component"] + at) == (wanted.site, wanted.name)
            assert (row["layer"], position) == (wanted.layer, wanted.position)
            assert [row[name] for name in _NUMBERS] == [getattr(wanted, name) for name in _NUMBERS]
    assert {row["method"] for row in rows} == {*job.estimators}


def test_the_numbers_are_those_of_the_pairs(database: Database) -> None:
    """The mean score of a head, and how many cells were patched, counted pair by pair."""
    job = run_job(database, submit_job(database))
    [row] = [each for each in table_rows(database, job) if each["component"] == "a1.h2"]
    scores = np.array([pair_scores(index, "z").sum(axis=1)[1, 2] for index in range(job.pairs)])
    assert row["mean"] == pytest.approx(scores.mean(), rel=1e-6)
    assert row["mean_abs"] == pytest.approx(np.abs(scores).mean(), rel=1e-6)
    assert row["std"] == pytest.approx(scores.std(ddof=1), rel=1e-6)
    assert (row["n"], row["layer"], row["head"]) == (job.pairs, 1, 2)


def test_components_are_named_as_the_field_writes_them(database: Database) -> None:
    """Heads, MLPs, neurons and edges with their two ends."""
    nodes = run_job(database, submit_job(database, spec=make_spec(sites=("z", "mlp_post", "mlp_out"))))
    names = {row["component"] for row in table_rows(database, nodes)}
    assert {"a0.h0", "a1.h2", "m0", "m1", "n1.24"} <= names
    edges = run_job(database, submit_job(database, spec=make_spec(method="eap", sites=("edge",))))
    ends = {row["component"]: (row["sender"], row["receiver"]) for row in table_rows(database, edges)}
    assert ends["a0.h1->a1.h2<v>"] == ("a0.h1", "a1.h2<v>")
    assert ends["input->m0"] == ("input", "m0")
    assert all(row["sender"] is None is row["receiver"] for row in table_rows(database, nodes))


def test_spans_have_a_column_of_their_own(database: Database) -> None:
    """Beside it no position."""
    spec = make_spec(detail="positions", positions="keep")
    pairs = make_pairs(10, spans=True)
    job = run_job(database, submit_job(database, spec=spec, pairs=pairs, spans=("subject",)))
    rows = table_rows(database, job)
    assert {row["span"] for row in rows} == {"subject", "(rest)"}
    assert {row["position"] for row in rows} == {None}


def test_of_very_many_components_the_strongest_have_rows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of neurons so many by each method; of heads all, but for those of single positions."""
    monkeypatch.setattr(component_table, "STRONGEST", 3)
    monkeypatch.setattr(component_table, "BY_POSITION", 10)
    sites = ("z", "mlp_post")
    whole = run_job(database, submit_job(database, spec=make_spec(sites=sites)))
    spec = make_spec(sites=sites, detail="positions", positions="keep")
    by_position = run_job(database, submit_job(database, spec=spec))
    for job, site, count in (
        (whole, "z", LAYERS * HEADS),
        (whole, "mlp_post", 3),
        (by_position, "z", 5),
        (by_position, "mlp_post", 3),
    ):
        with database.read() as session:
            top = components.top(session, job, count, sites=[site])
        mine = [row for row in table_rows(database, job) if row["site"] == site]
        assert [row["estimate"] for row in mine] == [each.estimate for each in top]
        assert len(mine) == count
    assert checking.check(database.url).problems == ()


def test_there_are_no_rows_before_the_job_is_complete(database: Database) -> None:
    """Nor of one that is cancelled half-way, nor of one whose every pair failed."""
    job = submit_job(database)
    run_chunk(database, job)
    assert table_rows(database, job) == []
    with database.write() as session:
        control.cancel(session, job.id)
    assert table_rows(database, job) == []
    failed = run_job(database, submit_job(database, 4, key="failed"), failed=range(4))
    assert (failed.state, table_rows(database, failed)) == ("failed", [])
    assert checking.check(database.url).problems == ()


def test_rows_are_written_in_the_transaction_that_completes_the_job(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that fails at its end there are none and the job is not done; the next attempt writes them."""
    job = submit_job(database, 4)

    def stumble(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(closing, "seal_end", stumble)
    with pytest.raises(RuntimeError):
        run_chunk(database, job)
    monkeypatch.undo()
    assert table_rows(database, job) == []
    with database.read() as session:
        assert jobs.get(session, job.id).state == "pending"
    run_job(database, job)
    assert table_rows(database, job)


def test_a_retried_job_loses_its_rows_and_gets_new_ones(database: Database) -> None:
    """Of all of its pairs then."""
    job = submit_job(database, 8)
    lease = claim(database, job_id=job.id)
    with database.write() as session:
        assert leases.fail(session, lease, "out of memory", for_good=True)
    run_job(database, job)
    assert {row["n"] for row in table_rows(database, job)} == {4}
    with database.write() as session:
        assert jobs.reopen(session, job.id) == 1
    assert table_rows(database, job) == []
    assert checking.check(database.url).problems == ()
    run_job(database, job)
    assert {row["n"] for row in table_rows(database, job)} == {8}
    assert checking.check(database.url).problems == ()


def test_a_deleted_job_leaves_no_rows(database: Database) -> None:
    """Those of another job stay."""
    gone, kept = (run_job(database, submit_job(database, key=key)) for key in ("gone", "kept"))
    before = table_rows(database, kept)
    with database.write() as session:
        jobs.delete(session, gone.id)
    assert table_rows(database, gone) == []
    assert table_rows(database, kept) == before


_EIGHTH = (component_estimate.c.method == "atp") & (component_estimate.c.rank == 8)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (update(component_estimate).where(_EIGHTH).values(estimate=0.25), "estimate of "),
        (update(component_estimate).where(_EIGHTH).values(ci_high=99.0), "ci_high of "),
        (update(component_estimate).where(_EIGHTH).values(exact_n=1), "exact_n of "),
        (update(component_estimate).where(_EIGHTH).values(component="a7.h7"), "rank 8 is a7.h7, expected "),
        (update(component_estimate).where(_EIGHTH).values(layer=7), "layer of "),
        (update(component_estimate).where(_EIGHTH).values(rank=80), "the rank of "),
        (delete(component_estimate).where(_EIGHTH), "7 rows, expected 8"),
        (delete(component_estimate), "0 rows, expected 8"),
    ],
)
def test_changed_rows_are_found(database: Database, url: str, statement: Executable, said: str) -> None:
    """By computing them again, even where the checksum of the job's end is lost with them."""
    run_job(database, submit_job(database))
    with database.write() as session:
        session.execute(statement)
    assert "job 1: checksum mismatch (state, times, error, totals, estimates" in "\n".join(
        checking.check(url).problems
    )
    with database.write() as session:
        session.execute(delete(checksum))
    assert f"job 1: table component_estimate, atp: {said}" in "\n".join(checking.check(url).problems)


def test_rows_of_a_job_that_is_not_complete_are_found(database: Database, url: str) -> None:
    """Somebody else wrote them."""
    done = run_job(database, submit_job(database, 4))
    begun = submit_job(database, 8, key="begun")
    [first, *_] = table_rows(database, done)
    with database.write() as session:
        session.execute(insert(component_estimate).values(first | {"job_id": begun.id}))
    assert checking.check(url).problems == (
        "job 2: state is pending, but it has 1 rows in table component_estimate",
    )
