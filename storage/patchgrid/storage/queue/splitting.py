"""What becomes of a chunk whose attempt ended badly: it is tried again, split, or given up.

The second attempt is a careful one: the worker measures pair by pair and notes each before it is begun. If
that attempt ends badly too, the pair it was at is the suspect and becomes a chunk of its own, which keeps the
attempts. So do the pairs before it and the pairs after it: the first attempt was theirs too, so they go on
with a careful one, and no pair is begun more than `MAX_ATTEMPTS` times.
"""

from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from patchgrid.core.states import ChunkState, JobState
from patchgrid.storage.chunks.checksums import seal_chunk
from patchgrid.storage.chunks.writing import write_failed
from patchgrid.storage.db.dialects import now
from patchgrid.storage.queue.closing import close_if_complete
from patchgrid.storage.tables import chunk, job

#: A chunk is given up when this many attempts have failed, or have lost their worker.
MAX_ATTEMPTS = 3
_JOB_STATE = select(job.c.state).where(job.c.id == bindparam("job"))
_HANDED_BACK = {JobState.PAUSED: ChunkState.HELD, JobState.CANCELLED: ChunkState.CANCELLED}


def hand_back(session: Session, row: Row[Any], **values: Any) -> None:
    """Make a chunk wait for a worker, or for its paused job to go on; the transaction has its lock."""
    free = {"state": _free_state(session, row.job_id), "lease_until": None, "worker": None, "at_pair": None}
    session.execute(chunk.update().where(chunk.c.id == row.id).values(free | values))


def end_attempt(
    session: Session, row: Row[Any], error: str, *, retry_in: float = 0, for_good: bool = False
) -> None:
    """End a chunk's attempt for `error`: split it, give it up, or hand it back to be tried again."""
    if for_good:
        _give_up(session, row, error, error)
    elif not _settle(session, row, error, retry_in):
        hand_back(session, row, error=error, not_before=now() + retry_in)


def may_be_taken_over(session: Session, row: Row[Any]) -> bool:
    """Tell whether a chunk whose worker was lost may be taken over as it is.

    If not, it has been split, given up or (in a paused job) handed back: there is another chunk to look for.
    """
    where = " at this pair" if row.last - row.first == 1 or row.at_pair is not None else ""
    error = f"its last worker, {row.worker}, was lost{where}"
    if _settle(session, row, error, retry_in=0):
        return False
    if _free_state(session, row.job_id) == ChunkState.PENDING:
        return True
    hand_back(session, row, error=error)
    return False


def _settle(session: Session, row: Row[Any], error: str, retry_in: float) -> bool:
    """Split a chunk or give it up if it is time for that; tell whether it was."""
    if row.at_pair is not None and row.last - row.first > 1:
        _split(session, row, error, retry_in)
    elif row.attempts >= MAX_ATTEMPTS:
        _give_up(session, row, error, _tried(row, error))
    else:
        return False
    return True


def _split(session: Session, row: Row[Any], error: str, retry_in: float) -> None:
    """Part a chunk into the pair it was at and what lies before and after it."""
    fresh = {"attempts": 1, "at_pair": None, "error": None, "not_before": 0.0}
    suspect = fresh | {"attempts": row.attempts, "error": error, "not_before": now() + retry_in}
    parts = [
        fresh | {"first": row.first, "last": row.at_pair},
        suspect | {"first": row.at_pair, "last": row.at_pair + 1},
        fresh | {"first": row.at_pair + 1, "last": row.last},
    ]
    mine, *others = [part for part in parts if part["first"] < part["last"]]
    hand_back(session, row, **mine)
    same = {name: getattr(row, name) for name in ("job_id", "priority", "model", "turn")}
    same |= {"state": _free_state(session, row.job_id), "epoch": 0}
    same |= dict.fromkeys(("done", "failed", "skipped", "bytes"), 0)
    for part in others:
        session.execute(chunk.insert().values(same | part))
    if row.attempts >= MAX_ATTEMPTS:
        of_pair = select(chunk).where(chunk.c.job_id == row.job_id, chunk.c.first == row.at_pair)
        guilty = session.execute(of_pair).one()
        _give_up(session, guilty, error, _tried(guilty, error))


def _tried(row: Row[Any], error: str) -> str:
    return f"given up after {row.attempts} attempts: {error}"


def _give_up(session: Session, row: Row[Any], error: str, reason: str) -> None:
    """Turn a chunk's pairs into error rows, with a reason."""
    written = write_failed(session, row.job_id, range(row.first, row.last), reason)
    values: dict[str, Any] = {
        "state": ChunkState.FAILED,
        "lease_until": None,
        "worker": None,
        "at_pair": None,
    }
    values |= {"failed": row.last - row.first, "error": error, "finished_at": now()}
    update = chunk.update().where(chunk.c.id == row.id).values(values).returning(*chunk.c)
    seal_chunk(session, session.execute(update).one(), written)
    close_if_complete(session, row.job_id)


def _free_state(session: Session, job_id: int) -> ChunkState:
    """Give the state of a chunk of this job that nobody measures; see `_locks` for why it stays true."""
    state = session.scalar(_JOB_STATE, {"job": job_id})
    return ChunkState.PENDING if state is None else _HANDED_BACK.get(state, ChunkState.PENDING)
