"""Leases: how a worker gets a chunk, keeps it, and hands in its results exactly once.

A claim raises the chunk's `epoch`; everything a worker does later names that epoch, so a worker that lost its
lease cannot change anything. Times are the database's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Double, Row, Select, bindparam, case, func, select
from sqlalchemy.orm import Session

from patchgrid.engine.types import Pair
from patchgrid.storage import tables
from patchgrid.storage._closing import close_if_complete
from patchgrid.storage._dialects import now
from patchgrid.storage.inputs import read_pair
from patchgrid.storage.provenance import provenance_id
from patchgrid.storage.tables import chunk, job
from patchgrid.storage.writing import ChunkResult, write_failed, write_result

#: A chunk is given up when this many attempts have failed, or have lost their worker.
MAX_ATTEMPTS = 3

_FREE = {"state": "pending", "lease_until": None, "worker": None}

# What runs once or more for each chunk is built once: building a statement takes longer than running it.
_HELD = (
    chunk.c.id == bindparam("held_chunk"),
    chunk.c.epoch == bindparam("held_epoch"),
    chunk.c.state == "leased",
)
_FIND_HELD = select(chunk).where(*_HELD).with_for_update()
_TAKE = (
    chunk.update()
    .where(chunk.c.id == bindparam("taken"))
    .values(
        state="leased",
        epoch=chunk.c.epoch + 1,
        attempts=chunk.c.attempts + 1,
        lease_until=now() + bindparam("lease_seconds", type_=Double),
        worker=bindparam("taker"),
    )
)
_START = (
    job.update()
    .where(job.c.id == bindparam("started"), job.c.state == "pending")
    .values(state="running", started_at=now())
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to compute one chunk until the lease runs out."""

    #: The chunk.
    chunk_id: int
    #: Its job.
    job_id: int
    #: Number of this claim; a later claim has a higher one.
    epoch: int
    #: Attempts so far, this one included.
    attempts: int
    #: Index of the chunk's first pair.
    first: int
    #: Index after the chunk's last pair.
    last: int
    #: Who holds it.
    worker: str


def claim(
    session: Session, worker: str, *, job_id: int | None = None, lease_seconds: float = 60
) -> Lease | None:
    """Take the next chunk: by priority, then job, then chunk. None: there is nothing to take *now*.

    Chunks whose lease ran out are taken too; one that lost its workers `MAX_ATTEMPTS` times is given up
    instead.
    """
    while (row := _next_chunk(session, job_id)) is not None:
        if row.attempts >= MAX_ATTEMPTS:
            # Here a chunk of several pairs could be split, to find the pair that kills its workers.
            _give_up(session, row, f"its last worker, {row.worker}, was lost")
            continue
        session.execute(_TAKE, {"taken": row.id, "taker": worker, "lease_seconds": lease_seconds})
        session.execute(_START, {"started": row.job_id})
        return Lease(row.id, row.job_id, row.epoch + 1, row.attempts + 1, row.first, row.last, worker)
    return None


def next_claim_in(session: Session, job_id: int | None = None) -> float | None:
    """Give the seconds until a chunk may be claimed (0: now), or None if none is left to claim or leased."""
    pending, leased = chunk.c.state == "pending", chunk.c.state == "leased"
    when = select(func.min(case((pending, chunk.c.not_before), else_=chunk.c.lease_until)), now())
    at, clock = session.execute(when.where(pending | leased, *_of(job_id))).one()
    return None if at is None else max(0.0, at - clock)


def chunk_pairs(session: Session, lease: Lease) -> list[Pair]:
    """Give the chunk's pairs, in order: pair `lease.first + i` is entry i."""
    pair = tables.pair
    inside = pair.c.pair_index.between(lease.first, lease.last - 1)
    rows = session.execute(
        select(pair).where(pair.c.job_id == lease.job_id, inside).order_by(pair.c.pair_index)
    )
    return [read_pair(row) for row in rows]


def extend(session: Session, lease: Lease, seconds: float = 60) -> bool:
    """Make the lease run out `seconds` from now; False if it is no longer held."""
    return _update_held(session, lease, lease_until=now() + seconds)


def release(session: Session, lease: Lease) -> bool:
    """Hand the chunk back undone, the attempt not counted; False if the lease is no longer held."""
    return _update_held(session, lease, **_FREE, attempts=lease.attempts - 1)


def finish(session: Session, lease: Lease, result: ChunkResult) -> bool:
    """Write a chunk's results and close it, and its job if it was the last.

    False, and nothing is written, if the lease is no longer held.
    """
    if session.execute(_FIND_HELD, _key(lease)).first() is None:
        return False
    write_result(session, lease.job_id, lease.chunk_id, range(lease.first, lease.last), result)
    failed = sum(outcome.state == "failed" for outcome in result.outcomes)
    _update_held(
        session,
        lease,
        **_FREE | {"state": "done"},
        done=len(result.outcomes) - failed,
        failed=failed,
        error=None,
        seconds=result.seconds,
        finished_at=now(),
        provenance_id=provenance_id(session, result.provenance),
    )
    close_if_complete(session, lease.job_id)
    return True


def fail(session: Session, lease: Lease, error: str, *, retry_in: float = 0) -> bool:
    """Hand in a failed attempt, to be tried again in `retry_in` seconds; False if fenced off.

    After `MAX_ATTEMPTS` the chunk is given up: its pairs become error rows and the rest of the job completes.
    """
    row = session.execute(_FIND_HELD, _key(lease)).first()
    if row is None:
        return False
    if lease.attempts >= MAX_ATTEMPTS:
        _give_up(session, row, error)
        return True
    return _update_held(session, lease, **_FREE, not_before=now() + retry_in, error=error)


def release_dead(session: Session, alive: Callable[[str], bool], job_id: int | None = None) -> int:
    """Free the chunks leased to workers that are not `alive`; give their number.

    The attempts do not count: whoever asks this knows that the workers ended, not that a chunk ended them.
    """
    leased = (
        select(chunk).where(chunk.c.state == "leased", *_of(job_id)).order_by(chunk.c.id).with_for_update()
    )
    dead = [row for row in session.execute(leased).all() if not alive(row.worker)]
    for row in dead:
        values = _FREE | {"attempts": row.attempts - 1}
        session.execute(chunk.update().where(chunk.c.id == row.id).values(values))
    return len(dead)


def _next_chunk(session: Session, job_id: int | None) -> Row[Any] | None:
    """Give the chunk that is next in turn, locked for this transaction."""
    # Two statements: with OR in one, no index would give the first row without reading them all.
    one_job = job_id is not None
    statements = [_first_in_turn(state, one_job=one_job) for state in ("pending", "leased")]
    found = [session.execute(each, {"job": job_id} if one_job else {}).first() for each in statements]
    return min(filter(None, found), key=lambda row: (-row.priority, row.job_id, row.id), default=None)


@cache
def _first_in_turn(state: str, *, one_job: bool) -> Select[Any]:
    """Give the query for the first chunk in this state whose time has come."""
    when = chunk.c.not_before if state == "pending" else chunk.c.lease_until
    query = select(chunk).where(chunk.c.state == state, when <= now())
    if one_job:
        query = query.where(chunk.c.job_id == bindparam("job")).order_by(chunk.c.id)
    else:
        query = query.order_by(chunk.c.priority.desc(), chunk.c.job_id, chunk.c.id)
    return query.limit(1).with_for_update(skip_locked=True)


def _of(job_id: int | None) -> tuple[ColumnElement[bool], ...]:
    return () if job_id is None else (chunk.c.job_id == job_id,)


def _key(lease: Lease) -> dict[str, int]:
    return {"held_chunk": lease.chunk_id, "held_epoch": lease.epoch}


def _update_held(session: Session, lease: Lease, **values: Any) -> bool:
    """Change the chunk if the lease is still held; tell whether it was."""
    update = chunk.update().where(*_HELD).values(values).returning(chunk.c.id)
    return session.execute(update, _key(lease)).first() is not None


def _give_up(session: Session, row: Row[Any], error: str) -> None:
    """Turn a chunk's pairs into error rows."""
    reason = f"given up after {row.attempts} attempts: {error}"
    write_failed(session, row.job_id, range(row.first, row.last), reason)
    values = _FREE | {"state": "failed", "failed": row.last - row.first, "error": error, "finished_at": now()}
    session.execute(chunk.update().where(chunk.c.id == row.id).values(values))
    close_if_complete(session, row.job_id)
