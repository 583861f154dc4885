"""Leases: how a worker claims a chunk, keeps it, and commits its results exactly once.

A claim increments the chunk's `epoch` (fencing token); every later write checks it, so a worker that lost its
lease cannot change anything. Times are the database's.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Double, Row, bindparam, case, func, select
from sqlalchemy.orm import Session

from patchgrid.core.states import OUTCOMES, ChunkState, JobState
from patchgrid.core.types import Pair
from patchgrid.storage.chunks.chunk_result import ChunkResult
from patchgrid.storage.chunks.inputs import read_pair
from patchgrid.storage.chunks.provenance import FIND_PROVENANCE, provenance_id
from patchgrid.storage.chunks.writing import result_rows, size_of, write_chunk
from patchgrid.storage.db.dialects import may_be_lost, now
from patchgrid.storage.queue import splitting
from patchgrid.storage.queue.closing import (
    ANY_WAITING,
    close_completed,
    close_if_complete,
)
from patchgrid.storage.queue.splitting import end_attempt, hand_back, may_be_taken_over
from patchgrid.storage.queue.turns import (
    Turn,
    first_waiting,
    lock_lost,
    lost_chunks,
    place,
    take,
    take_only,
    take_waiting,
    turns,
)
from patchgrid.storage.sampling.inclusion import change_inclusion
from patchgrid.storage.tables import chunk, job, pair

#: A chunk fails after this many attempts that failed or lost their worker.
MAX_ATTEMPTS = splitting.MAX_ATTEMPTS

# Statements that run for each chunk are built once: building takes longer than running.
_OF_CLAIM = (chunk.c.id == bindparam("held_chunk"), chunk.c.epoch == bindparam("held_epoch"))
# Also by worker: after a server crash another worker may repeat a lost claim with the same epoch.
_HELD = (*_OF_CLAIM, chunk.c.state == ChunkState.LEASED, chunk.c.worker == bindparam("held_worker"))
_FIND_HELD = select(chunk).where(*_HELD).with_for_update()
_IS_HELD = select(chunk.c.id).where(*_HELD)
# Locked rows are skipped: the holder itself may be in the middle of a commit.
_EXTEND = (
    chunk.update()
    .where(chunk.c.id == _IS_HELD.with_for_update(skip_locked=True).correlate(None).scalar_subquery())
    .values(lease_until=now() + bindparam("lease_seconds", type_=Double))
    .returning(chunk.c.id)
)
_FIND_DONE = select(chunk.c.id).where(*_OF_CLAIM, chunk.c.state == ChunkState.DONE)
_FREE = {"lease_until": None, "worker": None, "at_pair": None}
_CLOSE = (
    chunk.update()
    .where(*_HELD)
    .values(
        **_FREE,
        state=ChunkState.DONE,
        attempts=bindparam("attempts_made"),
        done=bindparam("pairs_done"),
        bytes=bindparam("size"),
        failed=bindparam("pairs_failed"),
        skipped=bindparam("pairs_skipped"),
        error=None,
        seconds=bindparam("took"),
        finished_at=now(),
        provenance_id=FIND_PROVENANCE.scalar_subquery(),
    )
    .returning(*chunk.c, ANY_WAITING)
)
_START = (
    job.update()
    .where(job.c.id == bindparam("started"), job.c.state == JobState.PENDING)
    .values(state=JobState.RUNNING, started_at=now())
)
_PAIRS = (
    select(pair)
    .where(
        pair.c.job_id == bindparam("of_job"),
        pair.c.pair_index.between(bindparam("from_pair"), bindparam("to_pair")),
    )
    .order_by(pair.c.pair_index)
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to measure one chunk until the lease expires."""

    #: The chunk.
    chunk_id: int
    #: Its job.
    job_id: int
    #: Number of this claim; later claims have higher ones.
    epoch: int
    #: Attempts so far, this one included.
    attempts: int
    #: Index of the chunk's first pair.
    first: int
    #: Index after the chunk's last pair.
    last: int
    #: Its holder.
    worker: str
    #: Whether it was taken over from a lost worker.
    takeover: bool = False
    #: Later round that it belongs to; None: it scores its pairs.
    round: int | None = None

    @property
    def careful(self) -> bool:
        """Whether to measure pair by pair, recording each: an attempt at all pairs together failed."""
        return self.attempts > 1 and self.last - self.first > 1

    @property
    def suspect(self) -> bool:
        """Whether the chunk may have caused an earlier failure: it is processed alone."""
        return self.attempts > 1 or self.takeover


def claim(
    session: Session,
    worker: str,
    *,
    job_id: int | None = None,
    models: Collection[str] | None = None,
    loaded: Collection[str] = (),
    lease_seconds: float = 60,
) -> Lease | None:
    """Claim the next chunk: by priority, then turn, then chunk. None: nothing to claim *now*.

    Only chunks of these models, and of this job, are claimed, if given; those of `loaded` models are
    slightly preferred. Chunks with an expired lease are taken over; one that has lost its worker before is
    split or failed first (see `splitting`).

    If the server crashes, the transaction may be lost: then the chunk is claimed again.
    """
    may_be_lost(session)
    taker = {"taker": worker, "lease_seconds": lease_seconds}
    queues = turns(session, job_id, models)
    if job_id is not None and models is not None and not _serves(session, job_id, models):
        return None
    # Usually one statement is enough: nothing was lost, and there is only one queue.
    row = take_only(session, queues[0], taker) if len(queues) == 1 else None
    lost = None
    if row is None:
        lost = _take_over(session, queues, job_id, models, taker)
        row = take_waiting(session, queues, taker, loaded) if lost is None else lost
    if row is None:
        close_completed(session, job_id)
        return None
    if row.job_state == JobState.PENDING:
        session.execute(_START, {"started": row.job_id})
    where = (row.job_id, row.epoch, row.attempts, row.first, row.last)
    return Lease(row.id, *where, worker, takeover=lost is not None, round=row.round)


def next_claim_in(
    session: Session, job_id: int | None = None, *, models: Collection[str] | None = None
) -> float | None:
    """Return the seconds until a chunk may be claimed (0: now); None if none is pending or leased."""
    pending, leased = chunk.c.state == ChunkState.PENDING, chunk.c.state == ChunkState.LEASED
    when = select(func.min(case((pending, chunk.c.not_before), else_=chunk.c.lease_until)), now())
    if models is not None:
        when = when.where(chunk.c.model.in_(models))
    at, clock = session.execute(when.where(pending | leased, *_of(job_id))).one()
    return None if at is None else max(0.0, at - clock)


def waiting(session: Session, job_id: int) -> tuple[str, int] | None:
    """Return the model of a job's pending chunks, and their number; None if there are none."""
    pending = (chunk.c.job_id == job_id) & (chunk.c.state == ChunkState.PENDING)
    row = session.execute(
        select(chunk.c.model, func.count()).where(pending).group_by(chunk.c.model)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def chunk_pairs(session: Session, lease: Lease) -> list[Pair]:
    """Return the chunk's pairs, in order: pair `lease.first + i` is entry i."""
    inside = {"of_job": lease.job_id, "from_pair": lease.first, "to_pair": lease.last - 1}
    return [read_pair(row) for row in session.execute(_PAIRS, inside)]


def extend(session: Session, lease: Lease, seconds: float = 60) -> bool:
    """Extend the lease to `seconds` from now; False if it is no longer held.

    If another transaction has locked the chunk, nothing changes.
    """
    may_be_lost(session)
    if session.execute(_EXTEND, _key(lease) | {"lease_seconds": seconds}).first() is not None:
        return True
    return session.scalar(_IS_HELD, _key(lease)) is not None


def note_pair(session: Session, lease: Lease, index: int) -> bool:
    """Record the pair that a careful attempt measures next; False if the lease is lost."""
    if not lease.first <= index < lease.last:
        raise ValueError(f"pair {index} is not in the chunk ({lease.first} to {lease.last - 1})")
    return _update_held(session, lease, at_pair=index)


def note_computed(session: Session, lease: Lease, seconds: float = 60) -> bool:
    """Record that the chunk is measured and only has to be stored; False if the lease is lost.

    Call it in the transaction that claims the next chunk, before that claim (see `locks`): a crash from here
    on counts against the next chunk. This attempt no longer counts, unless `finish` or `fail` counts it
    again, and the chunk is taken over as if it was never tried. For first attempts only: a chunk that failed
    before may also crash its worker while it is stored. The lease expires `seconds` from now: the claim that
    follows must not find it lost.
    """
    if lease.suspect:
        raise ValueError(f"chunk {lease.chunk_id} was tried before: it is stored before another is claimed")
    return _update_held(session, lease, attempts=0, lease_until=now() + seconds)


def release(session: Session, lease: Lease) -> bool:
    """Hand the chunk back unmeasured, without counting the attempt; False if the lease is no longer held."""
    row = session.execute(_FIND_HELD, _key(lease)).first()
    if row is not None:
        hand_back(session, row, attempts=lease.attempts - 1)
    return row is not None


def finish(session: Session, lease: Lease, result: ChunkResult) -> bool:
    """Write a chunk's results and finish it, and its job if it was the last.

    Returns False, and writes nothing, if the lease is no longer held. After a connection is lost during a
    commit, calling it again returns True, and writes nothing, if the commit had succeeded.
    """
    states = Counter(outcome.state for outcome in result.outcomes)
    counts: dict[str, Any] = {f"pairs_{state}": states[state] for state in OUTCOMES}
    counts |= {"took": result.seconds, "attempts_made": lease.attempts, "size": size_of(result)}
    provenance_values = {"made_by": result.provenance.hash, "waiting_job": lease.job_id}
    row = session.execute(_CLOSE, _key(lease) | counts | provenance_values).first()
    if row is None:
        return session.scalar(_FIND_DONE, _key(lease)) is not None
    *closed, any_waiting = row
    if row.provenance_id is None:
        values = {"provenance_id": provenance_id(session, result.provenance)}
        update = chunk.update().where(chunk.c.id == lease.chunk_id).values(values).returning(*chunk.c)
        closed = list(session.execute(update).one())
    indices = range(lease.first, lease.last)
    write_chunk(session, closed, result_rows(session, lease.job_id, lease.chunk_id, indices, result))
    if result.round is not None:
        change_inclusion(session, lease.job_id, indices, result.round.inclusion)
    if not any_waiting:
        close_if_complete(session, lease.job_id)
    return True


def fail(session: Session, lease: Lease, error: str, *, retry_in: float = 0, for_good: bool = False) -> bool:
    """Record a failed attempt, to be retried in `retry_in` seconds; False if the lease is lost.

    After `MAX_ATTEMPTS` the chunk fails: its pairs become error rows and the rest of the job completes. A
    careful attempt that fails at a pair splits the chunk there. `for_good` fails the chunk at once: it would
    fail every time.
    """
    _update_held(session, lease, attempts=lease.attempts)
    row = session.execute(_FIND_HELD, _key(lease)).first()
    if row is not None:
        end_attempt(session, row, error, retry_in=retry_in, for_good=for_good)
    return row is not None


def holders(session: Session, job_id: int) -> set[str]:
    """Return the holders of a job's chunks, dead or alive."""
    leased = select(chunk.c.worker).where(chunk.c.job_id == job_id, chunk.c.state == ChunkState.LEASED)
    return {name for name in session.scalars(leased) if name is not None}


def release_dead(session: Session, alive: Callable[[str], bool], job_id: int | None = None) -> int:
    """Release the chunks leased to workers that are not `alive`; return their number.

    The attempts do not count: the workers ended, but not necessarily because of a chunk.
    """
    return _release_leased(session, lambda row: not alive(row.worker), *_of(job_id))


def release_own(session: Session, worker: str, *, keep: Lease | None = None) -> int:
    """Release the leases of a worker that believes it holds only `keep`; return their number.

    After a connection is lost during a claim's commit, the worker calls this before it claims again;
    otherwise the chunk would wait until its lease expires, and the attempt would count.
    """
    conditions = () if keep is None else (chunk.c.id != keep.chunk_id,)
    return _release_leased(session, lambda _: True, chunk.c.worker == worker, *conditions)


def _release_leased(session: Session, free: Callable[[Row[Any]], bool], *where: ColumnElement[bool]) -> int:
    leased = (
        select(chunk).where(chunk.c.state == ChunkState.LEASED, *where).order_by(chunk.c.id).with_for_update()
    )
    rows = [row for row in session.execute(leased).all() if free(row)]
    for row in rows:
        # A computed chunk's attempt was already subtracted.
        hand_back(session, row, attempts=max(0, row.attempts - 1))
    return len(rows)


def _serves(session: Session, job_id: int, models: Collection[str]) -> bool:
    """Return whether the job's model is one of these."""
    served = select(chunk.c.id).where(chunk.c.job_id == job_id, chunk.c.model.in_(models)).limit(1)
    return session.scalar(served) is not None


def _take_over(
    session: Session,
    queues: Sequence[Turn],
    job_id: int | None,
    models: Collection[str] | None,
    taker: dict[str, Any],
) -> Row[Any] | None:
    """Take over the first lost chunk if its turn comes before all pending ones; None if there is none."""
    for each in lost_chunks(session, job_id, models):
        waiting = first_waiting(session, queues)
        if waiting is not None and place(waiting) < place(each):
            break
        row = lock_lost(session, each)
        if row is not None and may_be_taken_over(session, row):
            return take(session, row.id, taker)
    return None


def _of(job_id: int | None) -> tuple[ColumnElement[bool], ...]:
    return () if job_id is None else (chunk.c.job_id == job_id,)


def _key(lease: Lease) -> dict[str, int | str]:
    return {"held_chunk": lease.chunk_id, "held_epoch": lease.epoch, "held_worker": lease.worker}


def _update_held(session: Session, lease: Lease, **values: Any) -> bool:
    """Update the chunk if the lease is still held; return whether it was."""
    update = chunk.update().where(*_HELD).values(values).returning(chunk.c.id)
    return session.execute(update, _key(lease)).first() is not None
