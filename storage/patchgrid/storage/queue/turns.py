"""Turns: the statements that find and take the next chunk.

By priority, then turn (see `fair_share`), then chunk. Statements are built once: building takes longer than
running.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Double, FromClause, Row, Select, Update, and_, bindparam, select
from sqlalchemy.orm import Session

from patchgrid.core.states import RUNNABLE_JOBS, ChunkState
from patchgrid.storage.db.dialects import now
from patchgrid.storage.tables import chunk, job

#: Lost chunks considered per claim.
_LOST = 100
#: Turns for which a worker prefers its loaded models over the next chunk of another model.
TURNS_OF_A_LOAD = 8
_other = chunk.alias("other")
#: Models of jobs that may have a pending chunk.
_MODELS = select(job.c.spec["model"].as_string()).where(job.c.state.in_(RUNNABLE_JOBS)).distinct()
_ORDER = (chunk.c.priority.desc(), chunk.c.turn, chunk.c.id)


class Turn(NamedTuple):
    """One queue that a worker claims chunks from."""

    #: `job` or `model`.
    of: str
    #: Which job or model.
    value: int | str


def turns(session: Session, job_id: int | None, models: Collection[str] | None) -> list[Turn]:
    """Return a worker's queues: of one job, of some models, or all."""
    if job_id is not None:
        return [Turn("job", job_id)]
    names = session.scalars(_MODELS).all() if models is None else models
    return [Turn("model", name) for name in sorted(set(names))]


def take_only(session: Session, queue: Turn, taker: dict[str, Any]) -> Row[Any] | None:
    """Take the queue's next pending chunk; None if there is none, or if a chunk of the queue is lost."""
    return session.execute(_take_first(queue.of, if_none_lost=True), taker | {"value": queue.value}).first()


def take_waiting(
    session: Session, queues: Sequence[Turn], taker: dict[str, Any], loaded: Collection[str] = ()
) -> Row[Any] | None:
    """Take the next pending chunk, skipping locked ones; None if there is none.

    A model that is not `loaded` must be several turns ahead: loading it takes as long as a few chunks.
    """
    if len(queues) > 1:
        # One statement per model: with IN, no index returns the first row without reading all.
        heads = [(row, queue) for queue in queues if (row := first_waiting(session, [queue])) is not None]
        heads.sort(key=lambda each: place(each[0], later=0 if each[1].value in loaded else TURNS_OF_A_LOAD))
        queues = [queue for _, queue in heads]
    for queue in queues:
        row = session.execute(
            _take_first(queue.of, if_none_lost=False), taker | {"value": queue.value}
        ).first()
        if row is not None:
            return row
    return None


def first_waiting(session: Session, queues: Sequence[Turn]) -> Row[Any] | None:
    """Return the first pending chunk, locked or not."""
    rows = [session.execute(_first_waiting(queue.of), {"value": queue.value}).first() for queue in queues]
    return min(filter(None, rows), key=place, default=None)


def take(session: Session, chunk_id: int, taker: dict[str, Any]) -> Row[Any]:
    """Take a chunk that this transaction has locked."""
    return session.execute(_TAKE, taker | {"taken": chunk_id}).one()


def lost_chunks(session: Session, job_id: int | None, models: Collection[str] | None) -> Sequence[Row[Any]]:
    """Return the chunks with an expired lease, by turn, of this job and these models if given."""
    values: dict[str, Any] = {} if models is None else {"models": list(models)}
    if job_id is not None:
        values["job"] = job_id
    return session.execute(_lost(job_id is not None, models is not None), values).all()


def lock_lost(session: Session, row: Row[Any]) -> Row[Any] | None:
    """Lock a lost chunk; None if another has locked or taken it."""
    return session.execute(_LOCK_LOST, {"lost": row.id, "epoch": row.epoch}).first()


def place(row: Row[Any], *, later: int = 0) -> tuple[int, int, int]:
    """Return a chunk's sort key: the smallest is first."""
    return -row.priority, row.turn + later, row.id


def _taking(where: Any) -> Update:
    # On SQLite written without table names: `job_id` is not a column of job, so it is chunk's.
    job_state = select(job.c.state).where(job.c.id == chunk.c.job_id).correlate(chunk).scalar_subquery()
    return (
        chunk.update()
        .where(where)
        .values(
            state=ChunkState.LEASED,
            epoch=chunk.c.epoch + 1,
            attempts=chunk.c.attempts + 1,
            lease_until=now() + bindparam("lease_seconds", type_=Double),
            worker=bindparam("taker"),
            at_pair=None,
        )
        .returning(*_COLUMNS, job_state.label("job_state"))
    )


_COLUMNS = tuple(chunk.c[name] for name in ("id", "job_id", "epoch", "attempts", "first", "last", "round"))
_TAKE = _taking(chunk.c.id == bindparam("taken"))
_LOCK_LOST = (
    select(chunk)
    .where(
        chunk.c.id == bindparam("lost"),
        chunk.c.epoch == bindparam("epoch"),
        chunk.c.state == ChunkState.LEASED,
        chunk.c.lease_until <= now(),
    )
    .with_for_update(skip_locked=True)
)


@cache
def _take_first(of: str, *, if_none_lost: bool) -> Update:
    first = _first_waiting(of).with_only_columns(chunk.c.id).with_for_update(skip_locked=True)
    is_first = chunk.c.id == first.correlate(None).scalar_subquery()
    if not if_none_lost:
        return _taking(is_first)
    lost = select(_other.c.id).where(
        _is(of, _other), _other.c.state == ChunkState.LEASED, _other.c.lease_until <= now()
    )
    return _taking(and_(is_first, ~lost.correlate(None).exists()))


@cache
def _first_waiting(of: str) -> Select[Any]:
    query = select(chunk).where(
        _is(of, chunk), chunk.c.state == ChunkState.PENDING, chunk.c.not_before <= now()
    )
    return query.order_by(*(_ORDER[1:] if of == "job" else _ORDER)).limit(1)


def _is(of: str, table: FromClause) -> ColumnElement[bool]:
    return (table.c.job_id if of == "job" else table.c.model) == bindparam("value")


@cache
def _lost(of_job: bool, of_models: bool) -> Select[Any]:
    query = select(chunk).where(chunk.c.state == ChunkState.LEASED, chunk.c.lease_until <= now())
    if of_job:
        query = query.where(chunk.c.job_id == bindparam("job"))
    if of_models:
        query = query.where(chunk.c.model.in_(bindparam("models", expanding=True)))
    return query.order_by(*_ORDER).limit(_LOST)
