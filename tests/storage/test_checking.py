"""The check finds what is wrong in a database."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Executable

from patchgrid.storage import Database, checking, errors
from patchgrid.storage.tables import chunk, exact, outcome, pair, scores, sums, total
from support.storage_backends import run_job, submit_job


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (chunk.update().where(chunk.c.id == 1).values(done=3), "chunk 1 of job 1 counts 3 done"),
        (
            chunk.update().where(chunk.c.id == 2).values(state="pending"),
            "chunk 2 of job 1 is pending with 4 pairs",
        ),
        (outcome.delete().where(outcome.c.pair_index == 9), "its rows say {'done': 1}"),
        (pair.delete().where(pair.c.pair_index == 9), "job 1 has 9 pairs, not 10"),
        (
            pair.delete().where(pair.c.pair_index == 9),
            "rows of table exact belong to pairs that do not exist",
        ),
        (pair.update().where(pair.c.pair_index == 9).values(job_id=77), "rows of table pair belong to jobs"),
        (exact.update().where(exact.c.pair_index == 9).values(pair_index=77), "rows of table exact"),
        (sums.update().where(sums.c.chunk_id == 2).values(data=b"PGB1"), "sums of chunk 2, z, job 1"),
        (scores.update().where(scores.c.chunk_id == 3).values(data=b""), "scores of chunk 3, mlp_out, job 1"),
        (total.update().where(total.c.site == "z").values(data=b"PGB1"), "total of job 1, z (whole, atp)"),
        (
            sums.delete().where(sums.c.chunk_id == 2, sums.c.kind == "aligned"),
            "total of job 1, mlp_out (aligned, atp)",
        ),
    ],
)
def test_each_kind_of_damage_is_found(database: Database, url: str, change: Executable, said: str) -> None:
    """It is named."""
    run_job(database, submit_job(database))
    assert checking.check(url).problems == ()
    with database.write() as session:
        session.execute(change)
    report = checking.check(url)
    assert said in "\n".join(report.problems)


def test_a_row_that_refers_to_nothing_is_found(sqlite: Path) -> None:
    """As another program may leave it, with foreign keys off."""
    url = f"sqlite:///{sqlite}"
    with Database.open(url) as database:
        job = submit_job(database)
    other = sqlite3.connect(sqlite, isolation_level=None)
    other.execute(f"DELETE FROM job WHERE id = {job.id}")
    other.close()
    assert any("refers to a row of job that is missing" in line for line in checking.check(url).problems)


def test_a_check_makes_no_database(tmp_path: Path) -> None:
    """A wrong path is an error."""
    with pytest.raises(errors.DatabaseMissing):
        checking.check(f"sqlite:///{tmp_path}/no.db")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_whole(database: Database, url: str) -> None:
    """With nothing in it."""
    report = checking.check(url)
    assert (report.jobs, report.chunks, report.blobs, report.problems) == (0, 0, 0, ())
