"""Pausing, resuming and cancelling a job.

All are idempotent. Each is one transaction: a chunk is claimed before it, or not at all.
"""

from sqlalchemy import case, select
from sqlalchemy.orm import Session

from patchgrid.core.states import FINISHED_JOBS, OPEN_CHUNKS, ChunkState, JobState
from patchgrid.storage.db.dialects import now
from patchgrid.storage.db.locks import lock_unfinished
from patchgrid.storage.errors import JobFinished
from patchgrid.storage.jobs import jobs
from patchgrid.storage.queue.closing import bytes_so_far, end, store_totals
from patchgrid.storage.rounds.requests import end_open
from patchgrid.storage.tables import chunk, job


def pause(session: Session, job_id: int) -> None:
    """Hold the job's pending chunks; leased ones are finished or handed back.

    Raises `JobFinished` if it is done, failed or cancelled.
    """
    if _unfinished(session, job_id, "pause") != JobState.PAUSED:
        _set_job(session, job_id, state=JobState.PAUSED)
    waiting = (chunk.c.job_id == job_id) & (chunk.c.state == ChunkState.PENDING)
    session.execute(chunk.update().where(waiting).values(state=ChunkState.HELD))


def unpause(session: Session, job_id: int) -> None:
    """Let a paused job's chunks be claimed again; Raises `JobFinished` if it is done, failed or cancelled."""
    if _unfinished(session, job_id, "resume") == JobState.PAUSED:
        goes_on = case((job.c.started_at.is_(None), JobState.PENDING), else_=JobState.RUNNING)
        _set_job(session, job_id, state=goes_on)
    is_held = (chunk.c.job_id == job_id) & (chunk.c.state == ChunkState.HELD)
    waiting = session.scalars(select(chunk.c.id).where(is_held).order_by(chunk.c.turn, chunk.c.id)).all()
    if waiting:
        jobs.wait_again(session, job_id, waiting)
    session.execute(chunk.update().where(is_held).values(state=ChunkState.PENDING))


def cancel(session: Session, job_id: int) -> None:
    """Cancel the job: its chunks are no longer claimed, late results are refused.

    Stored results stay. A job in a later round is done again, with what its rounds have patched so far.
    Raises `JobFinished` if it is done or failed.
    """
    state = _unfinished(session, job_id, "cancel")
    if jobs.get(session, job_id).rounds and state != JobState.CANCELLED:
        _end_round(session, job_id)
        return
    if state != JobState.CANCELLED:
        _set_job(
            session, job_id, state=JobState.CANCELLED, finished_at=now(), result_bytes=bytes_so_far(job_id)
        )
    left = (chunk.c.job_id == job_id) & chunk.c.state.in_(OPEN_CHUNKS)
    fenced = chunk.c.epoch + case((chunk.c.state == ChunkState.LEASED, 1), else_=0)
    ended = {"state": ChunkState.CANCELLED, "lease_until": None, "worker": None, "at_pair": None}
    session.execute(chunk.update().where(left).values(ended | {"epoch": fenced}))


def _end_round(session: Session, job_id: int) -> None:
    """End the round that is under way: what is not patched yet of it is dropped."""
    left = (chunk.c.job_id == job_id) & chunk.c.state.in_(OPEN_CHUNKS)
    session.execute(chunk.delete().where(left))
    end_open(session, job_id)
    store_totals(session, job_id)
    end(session, job_id, done=True)


def _unfinished(session: Session, job_id: int, verb: str) -> str:
    """Lock the job and return its state; raise if it is gone or finished."""
    state = lock_unfinished(session, job_id)
    if state is None:
        jobs.get(session, job_id)
    assert state is not None, "a job that was just not there is"
    if state in FINISHED_JOBS:
        raise JobFinished(f"job {job_id} is {state}: nothing to {verb}")
    if state == JobState.CANCELLED and verb != "cancel":
        raise JobFinished(f"job {job_id} is cancelled: reopen it with `patchgrid job retry {job_id}`")
    return state


def _set_job(session: Session, job_id: int, **values: object) -> None:
    session.execute(job.update().where(job.c.id == job_id).values(**values))
