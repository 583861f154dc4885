"""The jobs page by page, newest first, with their progress; finding one by id or name."""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, RowMapping, func, or_, select
from sqlalchemy.orm import Session

from patchgrid.core.names import check_name
from patchgrid.core.states import FINISHED_CHUNKS, OPEN_CHUNKS, OUTCOMES, JobState
from patchgrid.storage.db.search import contains, storable
from patchgrid.storage.errors import JobNotFound
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord, record
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.tables import chunk
from patchgrid.storage.tables import job as table

#: Name of the most recently submitted job.
LAST = "last"
#: Most jobs a page.
MOST = 500
#: Largest integer of the databases.
_LARGEST = 2**31 - 1
_model: ColumnElement[str] = table.c.spec["model"].as_string()


def page(
    session: Session,
    *,
    before: int | None = None,
    limit: int = 50,
    state: str | None = None,
    model: str | None = None,
    search: str | None = None,
) -> list[tuple[JobRecord, Progress]]:
    """Return jobs whose ids are below `before`, the newest first, at most `limit` (and at most `MOST`).

    `search`: the job's id, or part of its name or model, whatever the case of its letters. Raises `SpecError`
    for a state that there is not.
    """
    query = select(table).where(jobs.THERE).order_by(table.c.id.desc()).limit(max(0, min(limit, MOST)))
    if before is not None and before <= _LARGEST:
        query = query.where(table.c.id < max(before, 0))
    if state is not None:
        check_name("state of a job", state, [*map(str, JobState)], "state")
        query = query.where(table.c.state == state)
    if model is not None:
        if not storable(model):
            return []
        query = query.where(_model == model)
    if search:
        query = query.where(_found_by(search))
    records = [record(row) for row in session.execute(query).mappings()]
    counted = progresses(session, [job.id for job in records])
    return [(job, counted[job.id]) for job in records]


def progresses(session: Session, job_ids: Collection[int]) -> dict[int, Progress]:
    """Count jobs' pairs and chunks by state, in one query; a deleted job has none."""
    counts = (
        select(
            *(chunk.c.job_id, chunk.c.state, func.count().label("chunks")),
            func.sum(chunk.c.last - chunk.c.first).label("total"),
            *(func.sum(chunk.c[name]).label(name) for name in OUTCOMES),
        )
        .join(table, table.c.id == chunk.c.job_id)
        .where(chunk.c.job_id.in_(job_ids), chunk.c.round.is_not_distinct_from(table.c.rounds))
        .group_by(chunk.c.job_id, chunk.c.state)
    )
    by_job: dict[int, list[RowMapping]] = {}
    for row in session.execute(counts).mappings() if job_ids else ():
        by_job.setdefault(row["job_id"], []).append(row)
    return {job_id: _progress(rows) for job_id, rows in by_job.items()}


def find(session: Session, name: int | str, owner: str | None = None) -> JobRecord:
    """Return a job by id, by name if unique, or the newest for `last`; raises `JobNotFound`.

    Names, and `last`, are searched among the jobs of `owner` first.
    """
    if name != LAST:
        return jobs.get(session, name, owner)
    newest = select(table).where(jobs.THERE).order_by(table.c.id.desc()).limit(1)
    row = None if owner is None else session.execute(newest.where(jobs.is_of(owner))).mappings().first()
    row = row or session.execute(newest).mappings().first()
    if row is None:
        raise JobNotFound("no jobs yet: create one with `patchgrid run` or `patchgrid submit`")
    return record(row)


def _found_by(search: str) -> ColumnElement[bool]:
    named = contains(search, table.c.name, _model)
    if search.isascii() and search.isdigit():
        return or_(table.c.id == min(int(search), _LARGEST), named)
    return named


def _progress(rows: Sequence[RowMapping]) -> Progress:
    """Put a job's counts by state together."""
    chunks = {row["state"]: row["chunks"] for row in rows}
    return Progress(
        **{name: sum(int(row[name]) for row in rows) for name in ("total", *OUTCOMES)},
        chunks_total=sum(chunks.values()),
        **{f"chunks_{state}": chunks.get(state, 0) for state in (*FINISHED_CHUNKS, *OPEN_CHUNKS)},
    )
