"""The end of a job: what happens when its last chunk is through."""

from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from patchgrid.core.states import FINISHED_JOBS, OPEN_CHUNKS, OPEN_JOBS, WAITING_CHUNKS, JobState
from patchgrid.storage.chunks.checksums import END, end_digest, seal_end
from patchgrid.storage.chunks.sums import add_up, pack_sums
from patchgrid.storage.db.database import Database
from patchgrid.storage.db.dialects import now
from patchgrid.storage.db.locks import lock_state
from patchgrid.storage.jobs import jobs
from patchgrid.storage.results.component_table import write_estimates
from patchgrid.storage.rounds.requests import advance
from patchgrid.storage.tables import checksum, chunk, component_estimate, job, outcome, sums, total

_OF_JOB = chunk.c.job_id == bindparam("job")
_other = chunk.alias("other")
#: Beside a row of a chunk: whether another chunk of its job is pending. While one is, whatever finishes that
#: one looks whether the job is complete: most chunks of a job need not take turns for it. The job is bound as
#: `waiting_job`: SQLAlchemy writes no tables' names in what an UPDATE returns on SQLite.
ANY_WAITING = (
    select(_other.c.id)
    .where(_other.c.job_id == bindparam("waiting_job"), _other.c.state.in_(WAITING_CHUNKS))
    .exists()
    .label("any_waiting")
)
_FIND_LEFT = select(chunk.c.id).where(_OF_JOB, chunk.c.state.in_(OPEN_CHUNKS)).limit(1)
_LEFT_OF = select(chunk.c.id).where(chunk.c.job_id == job.c.id, chunk.c.state.in_(OPEN_CHUNKS))
_COMPLETED = select(job.c.id).where(job.c.state.in_(OPEN_JOBS), ~_LEFT_OF.correlate(job).exists())


def close_if_complete(session: Session, job_id: int) -> None:
    """Close the job if no chunk of it is left, and store the totals of its chunks' sums and what follows."""
    # Of two workers that finish the last two chunks at once, the second must see the first's: they take turns
    # here.
    state = lock_state(session, job_id)
    if state not in OPEN_JOBS or session.scalar(_FIND_LEFT, {"job": job_id}) is not None:
        return
    store_totals(session, job_id)
    good = func.sum(chunk.c.done + chunk.c.skipped)
    done = session.scalar(select(good).where(chunk.c.job_id == job_id, chunk.c.round.is_(None)))
    if done and advance(session, job_id):
        return
    end(session, job_id, done=bool(done))


def end(session: Session, job_id: int, *, done: bool) -> None:
    """End a job whose totals are stored: `done`, or failed, as no pair was measured."""
    values: dict[str, Any] = {
        "state": JobState.DONE,
        "finished_at": now(),
        "result_bytes": bytes_so_far(job_id),
    }
    if not done:
        first = (
            select(outcome.c.error).where(outcome.c.job_id == job_id).order_by(outcome.c.pair_index).limit(1)
        )
        values |= {
            "state": JobState.FAILED,
            "error": f"every pair failed; first error: {session.scalar(first)}",
        }
    session.execute(job.update().where(job.c.id == job_id).values(values))
    session.execute(component_estimate.delete().where(component_estimate.c.job_id == job_id))
    write_estimates(session, jobs.get(session, job_id))
    seal_end(session, job_id)


def rewrite_estimates(database: Database) -> tuple[int, list[int]]:
    """Write totals and estimates again of ended jobs that an older version ended.

    Each job in a transaction of its own. Returns how many, and the ids of jobs that are not what their
    checksum was made of: these stay as they are, so that `db check` finds what is wrong with them.
    """
    older = select(component_estimate.c.job_id).where(component_estimate.c.shrunk.is_(None)).distinct()
    ended = select(job.c.id).where(job.c.state.in_(FINISHED_JOBS), job.c.id.in_(older))
    with database.read() as session:
        found = session.scalars(ended.order_by(job.c.id)).all()
    damaged = [job_id for job_id in found if not _rewrite(database, job_id)]
    return len(found) - len(damaged), damaged


def _rewrite(database: Database, job_id: int) -> bool:
    """Write a job's totals and estimates again; return False for one that is damaged."""
    its_end = (checksum.c.job_id == job_id) & (checksum.c.what == END)
    with database.write() as session:
        if session.scalar(select(checksum.c.digest).where(its_end)) != end_digest(session, job_id):
            return False
        store_totals(session, job_id)
        session.execute(component_estimate.delete().where(component_estimate.c.job_id == job_id))
        write_estimates(session, jobs.get(session, job_id))
        session.execute(checksum.delete().where(its_end))
        seal_end(session, job_id)
    return True


def bytes_so_far(job_id: int) -> Any:
    """Return the total size of a job's chunks, as a subquery."""
    return select(func.coalesce(func.sum(chunk.c.bytes), 0)).where(chunk.c.job_id == job_id).scalar_subquery()


def close_completed(session: Session, job_id: int | None) -> None:
    """Close the jobs, or the one job, that have no chunk left and were not closed.

    That is how one ends whose chunks that waited were all claimed and finished just while another's commit,
    which had still seen them wait, was under way.
    """
    query = _COMPLETED.order_by(job.c.id) if job_id is None else _COMPLETED.where(job.c.id == job_id)
    for each in session.scalars(query).all():
        close_if_complete(session, each)


def store_totals(session: Session, job_id: int) -> None:
    """Add up the sums of all of a job's chunks, and store them in place of former totals."""
    session.execute(total.delete().where(total.c.job_id == job_id))
    kinds = select(sums.c.site, sums.c.kind, sums.c.method).where(sums.c.job_id == job_id).distinct()
    for site, kind, method in session.execute(kinds).all():
        added = add_up(session, job_id, site, kind, method)
        assert added is not None, "sums that were just found cannot be read"
        key = {"job_id": job_id, "site": site, "kind": kind, "method": method}
        session.execute(total.insert().values(key | {"data": pack_sums(added)}))
