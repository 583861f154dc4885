"""The lock order, which prevents deadlocks.

Chunks first, in the order of their ids, then the job. One who has a chunk's lock may ask for the job's state:
it cannot change, because changing it requires locking the chunks first. A claim may have locked the one
chunk that it has measured, as it waits for no other: it takes what nobody has locked. SQLite has one lock for
all.
"""

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from patchgrid.core.states import DELETING, ChunkState
from patchgrid.storage.tables import chunk, job

_UNFINISHED = (
    select(chunk.c.id)
    .where(chunk.c.job_id == bindparam("job"), chunk.c.state != ChunkState.DONE)
    .order_by(chunk.c.id)
    .with_for_update()
)
_ALL = select(chunk.c.id).where(chunk.c.job_id == bindparam("job")).order_by(chunk.c.id).with_for_update()
# The weaker lock (NO KEY UPDATE) lets others continue inserting rows that refer to the job.
_STATE = (
    select(job.c.state)
    .where(job.c.id == bindparam("job"), job.c.state != DELETING)
    .with_for_update(key_share=True)
)
_WHOLE = select(job.c.state).where(job.c.id == bindparam("job")).with_for_update()

_THERE = select(job.c.id).where(job.c.id == bindparam("job")).with_for_update(read=True, key_share=True)


def lock_unfinished(session: Session, job_id: int) -> str | None:
    """Lock the job's chunks that are not done, then the job; return its state, None if it is gone."""
    session.execute(_UNFINISHED, {"job": job_id}).all()
    return lock_state(session, job_id)


def lock_whole(session: Session, job_id: int) -> None:
    """Lock all chunks of the job, then the job against anything that refers to it."""
    session.execute(_ALL, {"job": job_id}).all()
    session.execute(_WHOLE, {"job": job_id})


def keep(session: Session, job_id: int) -> bool:
    """Prevent the job's deletion for now; return whether it exists."""
    return session.scalar(_THERE, {"job": job_id}) is not None


def lock_state(session: Session, job_id: int) -> str | None:
    """Lock the job and return its state; None if it is gone or being deleted."""
    return session.scalar(_STATE, {"job": job_id})
