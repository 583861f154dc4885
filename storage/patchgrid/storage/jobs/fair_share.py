"""Fair share: the order in which pending chunks are claimed.

The chunks of one model and priority are a queue, claimed in the order of their `turn`. It is given when a job
is submitted, so that claiming a chunk reads that chunk alone:

- Owners take turns. Each owner's chunks have one turn after the other, beginning where the queue is now.
- Of one owner's jobs, smaller ones go first, at every second turn: a large job loses at most half of its
  owner's share to smaller ones. Jobs of the same size go in the order of their submission.

A new job takes those turns over from its owner's larger jobs, whose chunks move to the end of the owner's
turns; other owners' chunks keep theirs.
"""

from collections.abc import Collection, Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from sqlalchemy import Row, bindparam, func, select
from sqlalchemy.orm import Session

from patchgrid.core.states import RUNNABLE_JOBS, ChunkState
from patchgrid.storage.db.dialects import now
from patchgrid.storage.tables import chunk, job, submission

_IN_QUEUE = (
    chunk.c.state == ChunkState.PENDING,
    chunk.c.model == bindparam("queue_model"),
    chunk.c.priority == bindparam("queue_priority"),
)
_NEXT = select(chunk.c.turn).where(*_IN_QUEUE, chunk.c.not_before <= now()).order_by(chunk.c.turn).limit(1)
_LEASED = select(func.max(chunk.c.turn)).where(chunk.c.state == ChunkState.LEASED)
_MOVE = chunk.update().where(chunk.c.id == bindparam("moved")).values(turn=bindparam("to_turn"))


class Queue(NamedTuple):
    """Chunks that one worker may take in place of each other."""

    model: str
    priority: int

    @property
    def values(self) -> dict[str, Any]:
        """What the statements about it are asked with."""
        return {"queue_model": self.model, "queue_priority": self.priority}


def give_turns(session: Session, queue: Queue, owners: Collection[str], count: int) -> list[int]:
    """Return the turns of `count` new chunks of a job of these owners; their other chunks make room.

    To be called late in a transaction: on PostgreSQL it keeps the chunks that it moves locked. It waits for
    none that another has locked.
    """
    start = _next_turn(session, queue)
    own = _waiting_jobs(session, queue, owners)
    if not own:
        return list(range(start, start + count))
    smaller = [row.last for row in own if row.waiting <= count]
    after = max(smaller, default=start - 1)
    larger = [row.job_id for row in own if row.waiting > count]
    # Behind another small job's last turn, the next one is the large job's.
    moved = _chunks_of(session, queue, larger, after, 2 * count)[bool(smaller) :: 2]
    turns = [row.turn for row in moved]
    end = max(start, 1 + max(row.last for row in own))
    # Behind all of the owner's turns, those that were moved and the rest of the new ones take turns.
    rest = range(count - len(moved))
    behind = [each for each in chain(*zip_longest(moved, rest)) if each is not None]
    places = list(zip(behind, range(end, end + len(behind)), strict=True))
    move(session, {each.id: turn for each, turn in places if isinstance(each, Row)})
    return turns + [turn for each, turn in places if not isinstance(each, Row)]


def give_turns_again(session: Session, queue: Queue, owners: Collection[str], ids: Sequence[int]) -> None:
    """Return chunks that do not wait now, and are about to, new turns in their order."""
    turns = give_turns(session, queue, owners, len(ids))
    move(session, dict(zip(ids, turns, strict=True)))


def move(session: Session, turns: dict[int, int]) -> None:
    """Write turns of chunks, by their ids."""
    if turns:
        session.execute(_MOVE, [{"moved": chunk_id, "to_turn": turn} for chunk_id, turn in turns.items()])


def _next_turn(session: Session, queue: Queue) -> int:
    """Return the turn that a queue is at; of an empty one, the furthest that workers are at anywhere."""
    turn = session.scalar(_NEXT, queue.values)
    return (session.scalar(_LEASED) or 0) if turn is None else turn


def _waiting_jobs(session: Session, queue: Queue, owners: Collection[str]) -> Sequence[Row[Any]]:
    """Return the owners' jobs with chunks that wait in the queue: how many, and the last turn of them."""
    if not owners:
        return []
    theirs = (
        select(submission.c.job_id)
        .join(job, job.c.id == submission.c.job_id)
        .where(
            submission.c.owner.in_(owners),
            submission.c.withdrawn_at.is_(None),
            job.c.state.in_(RUNNABLE_JOBS),
        )
    )
    query = (
        select(chunk.c.job_id, func.count().label("waiting"), func.max(chunk.c.turn).label("last"))
        .where(chunk.c.job_id.in_(theirs), *_IN_QUEUE)
        .group_by(chunk.c.job_id)
    )
    return session.execute(query, queue.values).all()


def _chunks_of(
    session: Session, queue: Queue, job_ids: Collection[int], after: int, most: int
) -> Sequence[Any]:
    """Lock jobs' first waiting chunks behind a turn, those that nobody else has locked."""
    query = (
        select(chunk.c.id, chunk.c.turn)
        .where(chunk.c.job_id.in_(job_ids), chunk.c.turn > after, *_IN_QUEUE)
        .order_by(chunk.c.turn, chunk.c.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return session.execute(query, queue.values).all() if job_ids else ()
