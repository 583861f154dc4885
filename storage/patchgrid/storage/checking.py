"""Whether a database is whole: `patchgrid db check`."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Table, func, select
from sqlalchemy.orm import Session

from patchgrid.storage import tables
from patchgrid.storage.blobs import unpack
from patchgrid.storage.database import Database
from patchgrid.storage.errors import CorruptData
from patchgrid.storage.schema import REVISIONS
from patchgrid.storage.sums import add_up, pack_sums
from patchgrid.storage.tables import chunk, job, outcome, pair

#: Blobs read at a time.
_BATCH = 64
_WITH_BLOBS = (tables.sums, tables.scores, tables.total, tables.pilot, tables.mean)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check looked at and found."""

    #: The database's revision.
    revision: str
    #: Jobs looked at.
    jobs: int
    #: Chunks looked at.
    chunks: int
    #: Blobs whose checksums were computed.
    blobs: int
    #: What is wrong, one line each; empty: all is well.
    problems: tuple[str, ...]


def check(url: str, *, timeout: float = 30) -> CheckReport:
    """Look through the whole database: its own integrity, every checksum, every count, every total.

    Raises as `Database.open` does for a database of another version, or none at all.
    """
    with Database.open(url, create=False, timeout=timeout) as database, database.read() as session:
        problems = list(_integrity(session))
        if problems:
            # Nothing can be trusted of what is read from a damaged file.
            return CheckReport(REVISIONS[-1], 0, 0, 0, tuple(problems))
        problems += [*_counts(session), *_orphans(session), *_blobs(session), *_totals(session)]
        return CheckReport(
            revision=REVISIONS[-1],
            jobs=_count(session, job),
            chunks=_count(session, chunk),
            blobs=sum(_count(session, table) for table in _WITH_BLOBS),
            problems=tuple(problems),
        )


def _count(session: Session, table: Table) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def _integrity(session: Session) -> Iterator[str]:
    if session.get_bind().dialect.name != "sqlite":
        return
    connection = session.connection()
    for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if line != "ok":
            yield f"the file itself is damaged: {line}"
    for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"a row of table {row[0]} refers to a row of {row[2]} that is missing"


def _counts(session: Session) -> Iterator[str]:
    """Compare what chunks say of their pairs with the rows there are."""
    for job_id, announced in session.execute(select(job.c.id, job.c.pairs).order_by(job.c.id)).all():
        for table, what in ((pair, "pairs"), (chunk, "pairs in its chunks")):
            rows = func.count() if table is pair else func.coalesce(func.sum(chunk.c.last - chunk.c.first), 0)
            found = session.scalar(select(rows).select_from(table).where(table.c.job_id == job_id))
            if found != announced:
                yield f"job {job_id} has {found} {what}, not {announced}"
        yield from _chunk_counts(session, job_id)


def _chunk_counts(session: Session, job_id: int) -> Iterator[str]:
    query = select(chunk)
    for row in session.execute(query.where(chunk.c.job_id == job_id).order_by(chunk.c.id)).all():
        inside = outcome.c.pair_index.between(row.first, row.last - 1)
        states = select(outcome.c.state, func.count()).where(outcome.c.job_id == job_id, inside)
        found = {state: count for state, count in session.execute(states.group_by(outcome.c.state))}  # noqa: C416
        counted = {"done": row.done, "failed": row.failed, "skipped": row.skipped}
        if {state: found.get(state, 0) for state in counted} != counted:
            said = f"{row.done} done, {row.failed} failed and {row.skipped} skipped pairs"
            yield f"chunk {row.id} of job {job_id} counts {said}, its rows say {found}"
        through = sum(counted.values())
        if (through == row.last - row.first) != (row.state in ("done", "failed")):
            yield f"chunk {row.id} of job {job_id} is {row.state} with {through} pairs through"


def _orphans(session: Session) -> Iterator[str]:
    """Look for rows of jobs, or of pairs, that do not exist."""
    lost = session.scalar(
        select(func.count())
        .select_from(pair)
        .outerjoin(job, job.c.id == pair.c.job_id)
        .where(job.c.id.is_(None))
    )
    if lost:
        yield f"{lost} rows of table pair belong to jobs that do not exist"
    for table in (outcome, tables.exact, tables.top_component, tables.method_score):
        same = (pair.c.job_id == table.c.job_id) & (pair.c.pair_index == table.c.pair_index)
        lost = session.scalar(
            select(func.count()).select_from(table).outerjoin(pair, same).where(pair.c.job_id.is_(None))
        )
        if lost:
            yield f"{lost} rows of table {table.name} belong to pairs that do not exist"


def _blobs(session: Session) -> Iterator[str]:
    """Compute every checksum."""
    for table in (tables.sums, tables.scores):
        query = select(table.c.job_id, table.c.chunk_id, table.c.site, table.c.data)
        with session.execute(query.execution_options(yield_per=_BATCH)) as rows:
            for job_id, chunk_id, site, data in rows:
                try:
                    unpack(data, f"the {table.name} of chunk {chunk_id}, {site}, job {job_id}")
                except CorruptData as error:
                    yield str(error)
    for table, name in ((tables.pilot, "pilot"), (tables.mean, "means")):
        for row in session.execute(select(table)).all():
            try:
                unpack(row.data, f"the {name} of job {row.job_id}, {row.site}")
            except CorruptData as error:
                yield str(error)


def _totals(session: Session) -> Iterator[str]:
    """Add up each finished job's chunks again."""
    for row in session.execute(select(tables.total).order_by(tables.total.c.job_id)).all():
        try:
            added = add_up(session, row.job_id, row.site, row.kind, row.method)
        except CorruptData:
            continue  # told of by `_blobs`
        if added is None or pack_sums(added) != row.data:
            name = f"job {row.job_id}, {row.site} ({row.kind}, {row.method})"
            yield f"the stored total of {name} is not the sum of its chunks"
