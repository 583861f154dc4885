"""Jobs of an older version, whose totals and estimates an upgrade computes again."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.estimates.sums import CELL_SUMS, LATER_SUMS, SCORE_SUMS
from patchgrid.storage import Database, checking, tables
from patchgrid.storage.chunks.checksums import CHUNK, END, chunk_digest, end_digest
from patchgrid.storage.chunks.sums import read_sums
from patchgrid.storage.db.blobs import pack
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import closing
from patchgrid.storage.results import components
from support.storage.storage_backends import run_job, submit_job

#: What the first version summed.
NAMES = [*SCORE_SUMS, *(name for name in CELL_SUMS if name not in LATER_SUMS)]
NEW = {"pairs_low": None, "pairs_high": None, "shrunk": None, "heavy": None}


def made_old(session: Session, job: JobRecord) -> None:
    """Write what is stored of a job as the first version wrote it."""
    for table in (tables.sums, tables.total):
        for row in session.execute(select(table).where(table.c.job_id == job.id)).all():
            sums = read_sums(row.data, "sums")
            names = NAMES if sums.sampled else list(SCORE_SUMS)
            data = pack(
                [sums.values[[sums.names.index(name) for name in names]]],
                {"names": names, "aligned": sums.aligned},
            )
            same = [column == getattr(row, column.name) for column in table.primary_key]
            session.execute(table.update().where(*same).values(data=data))
    estimates = tables.component_estimate
    session.execute(estimates.update().where(estimates.c.job_id == job.id).values(NEW))
    checksum = tables.checksum
    mine = checksum.c.job_id == job.id
    for chunk in session.execute(select(tables.chunk).where(tables.chunk.c.job_id == job.id)).all():
        of_chunk = mine & (checksum.c.what == CHUNK) & (checksum.c.chunk_id == chunk.id)
        session.execute(checksum.update().where(of_chunk).values(digest=chunk_digest(session, chunk)))
    of_end = mine & (checksum.c.what == END)
    session.execute(checksum.update().where(of_end).values(digest=end_digest(session, job.id)))


def old_jobs(database: Database, count: int) -> list[int]:
    """Return finished jobs of the first version."""
    made = [run_job(database, submit_job(database, 6 + number, key=str(number))) for number in range(count)]
    with database.write() as session:
        for job in made:
            made_old(session, job)
    return [job.id for job in made]


def problems(database: Database) -> tuple[str, ...]:
    """Return what a check finds wrong."""
    url = database.engine.url.render_as_string(hide_password=False)
    return tuple(checking.check(url).problems)


def estimated(database: Database) -> set[int]:
    """Return the jobs that have all columns of their estimates."""
    table = tables.component_estimate
    with database.read() as session:
        return set(session.scalars(select(table.c.job_id).where(table.c.shrunk.is_not(None)).distinct()))


def test_estimates_are_those_of_the_stored_sums(database: Database) -> None:
    """With the interval for the job's own pairs; nothing is wrong with the database then."""
    [job] = old_jobs(database, 1)
    assert estimated(database) == set()
    assert closing.rewrite_estimates(database) == (1, [])
    assert closing.rewrite_estimates(database) == (0, [])
    assert problems(database) == ()
    with database.read() as session:
        rows = components.components(session, jobs.get(session, job))
    assert any(row.pairs_low is not None for row in rows)


def test_an_interrupted_upgrade_goes_on_with_the_jobs_that_are_left(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each job is written whole or not at all."""
    ids = old_jobs(database, 3)
    write = closing.write_estimates

    def dying(session: Session, job: JobRecord) -> None:
        write(session, job)
        if job.id == ids[1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(closing, "write_estimates", dying)
    with pytest.raises(KeyboardInterrupt):
        closing.rewrite_estimates(database)
    assert estimated(database) == {ids[0]}
    monkeypatch.undo()
    assert closing.rewrite_estimates(database) == (2, [])
    assert estimated(database) == set(ids)
    assert problems(database) == ()


def test_a_damaged_job_is_left_as_it_is(database: Database) -> None:
    """An upgrade must not make damage look sound."""
    ids = old_jobs(database, 2)
    table = tables.component_estimate
    with database.write() as session:
        damaged = (table.c.job_id == ids[0]) & (table.c.rank == 1)
        session.execute(table.update().where(damaged).values(estimate=99.0))
    assert closing.rewrite_estimates(database) == (1, [ids[0]])
    assert estimated(database) == {ids[1]}
    assert problems(database)
