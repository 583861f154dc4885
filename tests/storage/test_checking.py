"""The check finds nothing in a database that is whole, and reports on what it looked at."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from patchgrid.storage import Database, checking, errors
from patchgrid.storage.chunks import checksums
from patchgrid.storage.jobs import jobs
from patchgrid.storage.queue import control
from patchgrid.storage.tables import (
    exact,
    outcome,
    scores,
    sums,
)
from support.storage.chunk_results import make_pairs, make_spec
from support.storage.damage import change, problems
from support.storage.storage_backends import run_chunk, run_job, submit_job

SPECS = {
    "pairs": {},
    "positions": {"detail": "positions"},
    "summary": {"detail": "summary"},
    "kept positions": {"detail": "positions", "positions": "keep"},
    "kept positions, no scores": {"detail": "summary", "positions": "keep"},
    "two methods": {"method": "relp,atp"},
    "neurons": {"sites": ("z", "mlp_post")},
    "neurons by position": {"sites": ("mlp_post",), "detail": "positions", "positions": "keep"},
    "edges": {"method": "eap", "sites": ("edge",)},
    "nothing exact": {"exact": 0.0},
}


@pytest.mark.parametrize("values", SPECS.values(), ids=SPECS)
def test_every_kind_of_job_is_whole(database: Database, url: str, values: dict[str, object]) -> None:
    """With failed pairs, and pairs of several lengths."""
    made = run_job(database, submit_job(database, spec=make_spec(**values)), failed=(2,))
    report = checking.check(url)
    assert report.problems == ()
    assert (report.jobs, report.chunks) == (1, 3)
    assert made.state == "done"
    assert report.cells > 0 or not made.spec.patches


@pytest.mark.parametrize("positions", ["sum", "keep"])
def test_a_job_with_spans_is_whole(database: Database, url: str, positions: str) -> None:
    """Their columns are worked out from the pairs."""
    spec = make_spec(detail="positions", positions=positions)
    run_job(database, submit_job(database, spec=spec, pairs=make_pairs(6, spans=True), spans=("subject",)))
    assert problems(url) == ""


def pause(session: object, job_id: int) -> None:
    """Pause a job and let it go on."""
    control.pause(session, job_id)  # type: ignore[arg-type]
    control.unpause(session, job_id)  # type: ignore[arg-type]


@pytest.mark.parametrize("steer", [pause, control.cancel, jobs.reopen])
def test_what_people_do_to_a_job_is_no_damage(
    database: Database, url: str, steer: Callable[..., object]
) -> None:
    """In the middle of it, and when it then goes on to its end."""
    made = submit_job(database)
    run_chunk(database, made)
    with database.write() as session:
        steer(session, made.id)
    assert problems(url) == ""
    with database.write() as session:
        jobs.reopen(session, made.id)
    assert problems(url) == ""
    assert run_job(database, made).state == "done"
    assert problems(url) == ""


def test_a_new_column_without_values_changes_no_checksum() -> None:
    """So a later version can add one."""
    rows = [
        (1, 0, "done", None, None, "[]", "[]", 1.0, 2.0),
        (1, 1, "done", None, None, "[]", "[]", 1.5, -0.0),
    ]
    rows = [(*row, *[None] * (len(outcome.columns) - len(row))) for row in rows]
    before = checksums.digest_of([(outcome, rows)])
    assert before == checksums.digest_of([(outcome, rows[::-1])])
    for other in (2.0000000000000004, None, "2.0", 2):
        changed = [(*rows[0][:8], other, *rows[0][9:]), rows[1]]
        assert (checksums.digest_of([(outcome, changed)]) == before) == (other == 2)


def test_the_checksum_of_texts_tells_where_each_ends() -> None:
    """A damaged text may hold any character."""

    def digest(*texts: str) -> str:
        rest = (1.0, 2.0, *[None] * (len(outcome.columns) - 9))
        rows = [(1, index, "done", None, None, text, "[]", *rest) for index, text in enumerate(texts)]
        return checksums.digest_of([(outcome, rows)])

    assert digest("[1]\0", "[2]") != digest("[1]", "\0[2]")


def test_a_sample_looks_at_its_share_and_says_so(database: Database, url: str) -> None:
    """The same chunks each time for one seed; others for another."""
    made = submit_job(database, 400)
    run_job(database, made)
    for text, least, most in (("0.25", 10, 40), ("17", 17, 17)):
        report = checking.check(url, sample=checking.Sample.read(text))
        assert least <= report.chunks <= most
        assert report.chunks == checking.check(url, sample=checking.Sample.read(text)).chunks
        assert report.chunks_total == 100
    change(database, update(exact).where(exact.c.cell == 0).values(effect=7.0))
    found = {
        frozenset(checking.check(url, sample=checking.Sample.read("5", seed)).problems) for seed in range(3)
    }
    assert len(found) == 3


@pytest.mark.parametrize("text", ["0", "1.0", "2.5", "-1", "nan", "inf", "many", ""])
def test_a_sample_that_is_none_is_refused(text: str) -> None:
    """With what would have been one."""
    with pytest.raises(errors.StorageError, match=r"give a share of the chunks \(0.01\) or a number"):
        checking.Sample.read(text)


def test_progress_is_told_chunk_by_chunk(database: Database, url: str) -> None:
    """Up to the last."""
    run_job(database, submit_job(database))
    told: list[tuple[int, int]] = []
    checking.check(url, on_progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3), (3, 3)]


def test_a_check_makes_no_database(tmp_path: Path) -> None:
    """A wrong path is an error."""
    with pytest.raises(errors.DatabaseMissing):
        checking.check(f"sqlite:///{tmp_path}/no.db")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_whole(database: Database, url: str) -> None:
    """With nothing in it."""
    report = checking.check(url)
    assert (report.jobs, report.chunks, report.blobs, report.problems) == (0, 0, 0, ())


def test_the_numbers_of_a_check_are_those_of_the_tables(database: Database, url: str) -> None:
    """What was looked at."""
    run_job(database, submit_job(database))
    report = checking.check(url)
    with database.read() as session:
        for table, number in ((sums, 12), (scores, 6)):
            assert len(session.execute(select(table)).all()) == number
        assert report.blobs == 18
        assert report.cells == len(session.execute(select(exact.c.cell)).all())
    assert json.loads(json.dumps(report.problems)) == []
    assert np.isfinite(report.seconds)
