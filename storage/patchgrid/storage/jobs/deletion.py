"""Deleting jobs of any size in short transactions, so that others never wait long.

A job being deleted has the state `deleting` and is hidden. An interrupted deletion is completed by the next
one.
"""

import time
import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.core.states import DELETING, OPEN_CHUNKS, ChunkState
from patchgrid.storage.db.database import Database
from patchgrid.storage.db.dialects import now
from patchgrid.storage.db.locks import lock_whole
from patchgrid.storage.jobs import jobs
from patchgrid.storage.tables import chunk, idempotency, job, submission

#: Pairs whose rows are deleted in one transaction.
_PAIRS = 1024
#: Longest pause after one, in seconds, so that others can take SQLite's lock.
_PAUSE = 0.05


def begin(session: Session, job_id: int) -> None:
    """Hide a job from lists, owners, submitters and workers."""
    lock_whole(session, job_id)
    fenced = {"state": ChunkState.CANCELLED, "epoch": chunk.c.epoch + 1, "lease_until": None, "worker": None}
    left = (chunk.c.job_id == job_id) & chunk.c.state.in_(OPEN_CHUNKS)
    session.execute(chunk.update().where(left).values(fenced))
    # No key that a submitter could have taken.
    gone = {"state": DELETING, "key": f"deleted {uuid.uuid4()}", "name": None, "finished_at": now()}
    session.execute(job.update().where(job.c.id == job_id).values(gone))
    for table in (submission, idempotency):
        session.execute(table.delete().where(table.c.job_id == job_id))


def finish(database: Database) -> None:
    """Delete all jobs whose deletion was started."""
    with database.read() as session:
        begun = session.scalars(select(job.c.id).where(job.c.state == DELETING)).all()
    for job_id in begun:
        while _remove_some(database, job_id):
            pass


def _remove_some(database: Database, job_id: int) -> bool:
    """Delete some of a job's chunks and their data, or its last ones; return whether any is left."""
    began = time.monotonic()
    with database.write() as session:
        rows = select(chunk.c.id, chunk.c.first, chunk.c.last).where(chunk.c.job_id == job_id)
        # Locked: another process may be at the same.
        chunks = session.execute(rows.order_by(chunk.c.first).limit(_PAIRS + 1).with_for_update()).all()
        some = [row.id for row in chunks if row.last - chunks[0].first <= _PAIRS]
        some = some or [row.id for row in chunks[:1]]
        if len(some) == len(chunks):
            jobs.delete(session, job_id)
            return False
        jobs.delete_rows(session, job_id, some)
    time.sleep(min(_PAUSE, time.monotonic() - began))
    return True
