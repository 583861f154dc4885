"""Leases: how a worker gets a chunk, keeps it, and hands in its results exactly once.

A claim raises the chunk's `epoch`; everything a worker does later names that epoch, so a worker that lost its
lease cannot change anything. Times are the database's.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Double, Row, Select, bindparam, case, func, select
from sqlalchemy.orm import Session

from patchgrid.engine.types import Pair
from patchgrid.storage import splitting, tables
from patchgrid.storage._closing import close_if_complete
from patchgrid.storage._dialects import now
from patchgrid.storage.inputs import read_pair
from patchgrid.storage.provenance import provenance_id
from patchgrid.storage.splitting import end_attempt, hand_back, may_be_taken_over
from patchgrid.storage.tables import chunk, job
from patchgrid.storage.writing import ChunkResult, write_result

#: A chunk is given up when this many attempts have failed, or have lost their worker.
MAX_ATTEMPTS = splitting.MAX_ATTEMPTS

# What runs once or more for each chunk is built once: building a statement takes longer than running it.
_OF_CLAIM = (chunk.c.id == bindparam("held_chunk"), chunk.c.epoch == bindparam("held_epoch"))
_HELD = (*_OF_CLAIM, chunk.c.state == "leased")
_FIND_HELD = select(chunk).where(*_HELD).with_for_update()
_FIND_DONE = select(chunk.c.id).where(*_OF_CLAIM, chunk.c.state == "done")
_TAKE = (
    chunk.update()
    .where(chunk.c.id == bindparam("taken"))
    .values(
        state="leased",
        epoch=chunk.c.epoch + 1,
        attempts=chunk.c.attempts + 1,
        lease_until=now() + bindparam("lease_seconds", type_=Double),
        worker=bindparam("taker"),
        at_pair=None,
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
    #: Whether it was taken over from a worker that was lost.
    takeover: bool = False

    @property
    def careful(self) -> bool:
        """Whether to measure pair by pair, noting each: an attempt at these pairs together ended badly."""
        return self.attempts > 1 and self.last - self.first > 1


def claim(
    session: Session,
    worker: str,
    *,
    job_id: int | None = None,
    models: Collection[str] | None = None,
    lease_seconds: float = 60,
) -> Lease | None:
    """Take the next chunk: by priority, then job, then chunk. None: there is nothing to take *now*.

    Only chunks of these models are taken, and of this job, if they are given. Chunks whose lease ran out are
    taken over; one that has lost its worker before is split or given up first (see `splitting`).
    """
    while (row := _next_chunk(session, job_id, models)) is not None:
        lost = row.state == "leased"
        if lost and not may_be_taken_over(session, row):
            continue
        session.execute(_TAKE, {"taken": row.id, "taker": worker, "lease_seconds": lease_seconds})
        session.execute(_START, {"started": row.job_id})
        return Lease(
            row.id, row.job_id, row.epoch + 1, row.attempts + 1, row.first, row.last, worker, takeover=lost
        )
    return None


def next_claim_in(
    session: Session, job_id: int | None = None, *, models: Collection[str] | None = None
) -> float | None:
    """Give the seconds until a chunk may be claimed (0: now), or None if none is left to claim or leased."""
    pending, leased = chunk.c.state == "pending", chunk.c.state == "leased"
    when = select(func.min(case((pending, chunk.c.not_before), else_=chunk.c.lease_until)), now())
    if models is not None:
        when = when.where(chunk.c.model.in_(models))
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


def note_pair(session: Session, lease: Lease, index: int) -> bool:
    """Note, before it is begun, the pair that a careful attempt measures next; False if fenced off."""
    if not lease.first <= index < lease.last:
        raise ValueError(f"pair {index} is none of the chunk's {lease.first} to {lease.last - 1}")
    return _update_held(session, lease, at_pair=index)


def release(session: Session, lease: Lease) -> bool:
    """Hand the chunk back undone, the attempt not counted; False if the lease is no longer held."""
    row = session.execute(_FIND_HELD, _key(lease)).first()
    if row is not None:
        hand_back(session, row, attempts=row.attempts - 1)
    return row is not None


def finish(session: Session, lease: Lease, result: ChunkResult) -> bool:
    """Write a chunk's results and close it, and its job if it was the last.

    False, and nothing is written, if the lease is no longer held. When a connection breaks in the middle of a
    commit nobody knows whether it landed: handing in again gives True, and writes nothing, if it had.
    """
    if session.execute(_FIND_HELD, _key(lease)).first() is None:
        return session.scalar(_FIND_DONE, _key(lease)) is not None
    write_result(session, lease.job_id, lease.chunk_id, range(lease.first, lease.last), result)
    failed = sum(outcome.state == "failed" for outcome in result.outcomes)
    _update_held(
        session,
        lease,
        state="done",
        lease_until=None,
        worker=None,
        at_pair=None,
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
    A careful attempt that fails at a pair splits the chunk there.
    """
    row = session.execute(_FIND_HELD, _key(lease)).first()
    if row is not None:
        end_attempt(session, row, error, retry_in=retry_in)
    return row is not None


def release_dead(session: Session, alive: Callable[[str], bool], job_id: int | None = None) -> int:
    """Free the chunks leased to workers that are not `alive`; give their number.

    The attempts do not count: whoever asks this knows that the workers ended, not that a chunk ended them.
    """
    leased = (
        select(chunk).where(chunk.c.state == "leased", *_of(job_id)).order_by(chunk.c.id).with_for_update()
    )
    dead = [row for row in session.execute(leased).all() if not alive(row.worker)]
    for row in dead:
        hand_back(session, row, attempts=row.attempts - 1)
    return len(dead)


class _Turn(NamedTuple):
    """Where to look for a chunk."""

    state: str
    #: Of one job or model, or of all.
    scope: str
    value: int | str | None

    def first(self, session: Session, *, lock: bool) -> Row[Any] | None:
        """Give the first chunk there whose time has come, past those that others have locked."""
        query = _first_in_turn(self.state, self.scope, lock=lock)
        return session.execute(query, {} if self.value is None else {"value": self.value}).first()


def _next_chunk(session: Session, job_id: int | None, models: Collection[str] | None) -> Row[Any] | None:
    """Give the chunk that is next in turn, locked for this transaction."""
    # A statement for each: with OR or IN in one, no index would give the first row without reading them all.
    if job_id is not None:
        scopes: list[tuple[str, int | str | None]] = [("job", job_id)]
    else:
        scopes = [("all", None)] if models is None else [("model", name) for name in sorted(set(models))]
    turns = [_Turn(state, *scope) for scope in scopes for state in ("leased", "pending")]
    found = [(turn, row) for turn in turns if (row := turn.first(session, lock=False)) is not None]
    if job_id is not None and models is not None:
        found = [(turn, row) for turn, row in found if row.model in models]
    # Only the best is locked: another worker must not be kept from a chunk that is not taken after all.
    for turn, _ in sorted(found, key=lambda each: (-each[1].priority, each[1].job_id, each[1].id)):
        row = turn.first(session, lock=True)
        if row is not None:
            return row
    return None


@cache
def _first_in_turn(state: str, scope: str, *, lock: bool) -> Select[Any]:
    """Give the query for the first chunk in this state and scope whose time has come."""
    when = chunk.c.not_before if state == "pending" else chunk.c.lease_until
    query = select(chunk).where(chunk.c.state == state, when <= now())
    if scope == "job":
        query = query.where(chunk.c.job_id == bindparam("value")).order_by(chunk.c.id)
    else:
        if scope == "model":
            query = query.where(chunk.c.model == bindparam("value"))
        query = query.order_by(chunk.c.priority.desc(), chunk.c.job_id, chunk.c.id)
    return query.limit(1).with_for_update(skip_locked=True) if lock else query.limit(1)


def _of(job_id: int | None) -> tuple[ColumnElement[bool], ...]:
    return () if job_id is None else (chunk.c.job_id == job_id,)


def _key(lease: Lease) -> dict[str, int]:
    return {"held_chunk": lease.chunk_id, "held_epoch": lease.epoch}


def _update_held(session: Session, lease: Lease, **values: Any) -> bool:
    """Change the chunk if the lease is still held; tell whether it was."""
    update = chunk.update().where(*_HELD).values(values).returning(chunk.c.id)
    return session.execute(update, _key(lease)).first() is not None
