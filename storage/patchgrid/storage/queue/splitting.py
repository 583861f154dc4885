"""Handling a chunk after a failed attempt: it is retried, split, or failed.

The second attempt is a careful one: the worker measures pair by pair and records each before starting it. If
that attempt fails too, the recorded pair is the suspect and becomes its own chunk, which keeps the attempt
count. So do the pairs before it and after it: the first attempt was theirs too, so their next attempt is
careful, and no pair is started more than `MAX_ATTEMPTS` times.
"""

from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from patchgrid.core.states import ChunkState, JobState
from patchgrid.storage.chunks.writing import failed_rows, write_chunk
from patchgrid.storage.db.dialects import now
from patchgrid.storage.queue.closing import close_if_complete
from patchgrid.storage.tables import chunk, job

#: A chunk fails after this many attempts that failed or lost their worker.
MAX_ATTEMPTS = 3
_JOB_STATE = select(job.c.state).where(job.c.id == bindparam("job"))
_HANDED_BACK = {JobState.PAUSED: ChunkState.HELD, JobState.CANCELLED: ChunkState.CANCELLED}


def hand_back(session: Session, row: Row[Any], **values: Any) -> None:
    """Make a locked chunk pending again, or held if its job is paused."""
    free = {"state": _free_state(session, row.job_id), "lease_until": None, "worker": None, "at_pair": None}
    session.execute(chunk.update().where(chunk.c.id == row.id).values(free | values))


def end_attempt(
    session: Session, row: Row[Any], error: str, *, retry_in: float = 0, for_good: bool = False
) -> None:
    """End a chunk's attempt with `error`: split it, fail it, or hand it back for a retry."""
    if for_good:
        _give_up(session, row, error, error)
    elif not _settle(session, row, error, retry_in):
        hand_back(session, row, error=error, not_before=now() + retry_in)


def may_be_taken_over(session: Session, row: Row[Any]) -> bool:
    """Return whether a chunk of a lost worker may be taken over unchanged.

    If not, it was split, failed or (in a paused job) handed back: the caller looks for another chunk.
    """
    where = " at this pair" if row.last - row.first == 1 or row.at_pair is not None else ""
    error = f"its last worker {row.worker} was lost{where}"
    if _settle(session, row, error, retry_in=0):
        return False
    if _free_state(session, row.job_id) == ChunkState.PENDING:
        return True
    hand_back(session, row, error=error)
    return False


def _settle(session: Session, row: Row[Any], error: str, retry_in: float) -> bool:
    """Split or fail a chunk if its attempts require it; return whether it did."""
    if row.at_pair is not None and row.last - row.first > 1:
        _split(session, row, error, retry_in)
    elif row.attempts >= MAX_ATTEMPTS:
        _give_up(session, row, error, _tried(row, error))
    else:
        return False
    return True


def _split(session: Session, row: Row[Any], error: str, retry_in: float) -> None:
    """Split a chunk into the recorded pair and the pairs before and after it."""
    fresh = {"attempts": 1, "at_pair": None, "error": None, "not_before": 0.0}
    suspect = fresh | {"attempts": row.attempts, "error": error, "not_before": now() + retry_in}
    parts = [
        fresh | {"first": row.first, "last": row.at_pair},
        suspect | {"first": row.at_pair, "last": row.at_pair + 1},
        fresh | {"first": row.at_pair + 1, "last": row.last},
    ]
    mine, *others = [part for part in parts if part["first"] < part["last"]]
    hand_back(session, row, **mine)
    same = {name: getattr(row, name) for name in ("job_id", "priority", "model", "turn", "round")}
    same |= {"state": _free_state(session, row.job_id), "epoch": 0}
    same |= dict.fromkeys(("done", "failed", "skipped", "bytes"), 0)
    for part in others:
        session.execute(chunk.insert().values(same | part))
    if row.attempts >= MAX_ATTEMPTS:
        of_pair = select(chunk).where(
            chunk.c.job_id == row.job_id,
            chunk.c.first == row.at_pair,
            chunk.c.round.is_not_distinct_from(row.round),
        )
        guilty = session.execute(of_pair).one()
        _give_up(session, guilty, error, _tried(guilty, error))


def _tried(row: Row[Any], error: str) -> str:
    return f"failed after {row.attempts} attempts: {error}"


def _give_up(session: Session, row: Row[Any], error: str, reason: str) -> None:
    """Turn a chunk's pairs into error rows, with a reason; of a later round they keep what they have."""
    values: dict[str, Any] = {
        "state": ChunkState.FAILED,
        "lease_until": None,
        "worker": None,
        "at_pair": None,
    }
    values |= {"failed": row.last - row.first, "error": error, "finished_at": now()}
    update = chunk.update().where(chunk.c.id == row.id).values(values).returning(*chunk.c)
    failed = [] if row.round is not None else failed_rows(row.job_id, range(row.first, row.last), reason)
    write_chunk(session, session.execute(update).one(), failed)
    close_if_complete(session, row.job_id)


def _free_state(session: Session, job_id: int) -> ChunkState:
    """Return the state of an unleased chunk of this job; see `locks` for why it stays valid."""
    state = session.scalar(_JOB_STATE, {"job": job_id})
    return ChunkState.PENDING if state is None else _HANDED_BACK.get(state, ChunkState.PENDING)
