"""The registry of workers: who there is, what each does, who is to stop, and who cannot load which model."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.orm import Session

from patchgrid.core.states import WorkerState
from patchgrid.storage.db.dialects import insert_or_update, now
from patchgrid.storage.errors import WorkerNotFound
from patchgrid.storage.tables import load_failure
from patchgrid.storage.tables import worker as table

#: Seconds after which workers that are gone, and failures to load, are shown no more.
SHOWN = 24 * 3600.0
#: Seconds after which they are forgotten.
KEPT = 7 * 24 * 3600.0
#: Characters of a name that is part of a key.
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker is."""

    #: Its own name, which no other has.
    name: str
    #: The machine it runs on.
    host: str
    #: Its process there.
    pid: int
    #: What it computes on: `cpu`, `cuda:0`.
    device: str
    #: Models it serves.
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What a worker is at."""

    #: Any but `stopped`.
    state: WorkerState
    #: What an operator should know, else None.
    message: str | None = None
    #: Models in its memory.
    loaded: tuple[str, ...] = ()
    #: Job and chunk it measures, else None.
    job_id: int | None = None
    chunk_id: int | None = None
    #: Bytes of its device's memory in use, and there are; None: unknown.
    memory_used: int | None = None
    memory_total: int | None = None
    #: Chunks and pairs it has committed.
    chunks: int = 0
    pairs: int = 0
    #: Its speed of late, None before there is any.
    pairs_per_second: float | None = None
    #: Leases it lost to others.
    lease_losses: int = 0
    #: Chunks it took over from workers that were lost.
    takeovers: int = 0
    #: Kind of failure to the number of pairs that failed so.
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker's current state: `WorkerInfo`, the last `WorkerStatus` and its age."""

    id: int
    name: str
    host: str
    pid: int
    device: str
    models: tuple[str, ...]
    #: As it last said.
    state: WorkerState
    message: str | None
    loaded: tuple[str, ...]
    job_id: int | None
    chunk_id: int | None
    memory_used: int | None
    memory_total: int | None
    #: Times in seconds since 1970 by the database's clock.
    started_at: float
    seen_at: float
    #: Whether it is to finish its chunk and exit.
    drain: bool
    chunks: int
    pairs: int
    pairs_per_second: float | None
    lease_losses: int
    takeovers: int
    failures: Mapping[str, int]
    #: Seconds since its last heartbeat.
    seen_ago: float
    #: Whether its heartbeats stopped without it deregistering.
    lost: bool


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A model that a worker cannot load."""

    #: The worker's name.
    worker: str
    #: The model.
    model: str
    #: Why, at the last attempt.
    error: str
    #: When that was, seconds since 1970 by the database's clock.
    failed_at: float
    #: How often it has tried.
    attempts: int


def serving(session: Session) -> dict[str, int]:
    """Return the models of the last day's workers, ordered by name, with the number serving each."""
    counts: dict[str, int] = {}
    for each in list_workers(session):
        here = not each.lost and each.state not in (WorkerState.STOPPED, WorkerState.DRAINING)
        for model in each.models:
            counts[model] = counts.get(model, 0) + here
    return dict(sorted(counts.items()))


def register(session: Session, info: WorkerInfo) -> int:
    """Register a worker and return its id; one of the same name is replaced."""
    session.execute(table.delete().where(table.c.seen_at < now() - KEPT))
    session.execute(load_failure.delete().where(load_failure.c.failed_at < now() - KEPT))
    session.execute(load_failure.delete().where(load_failure.c.worker == _key(info.name)))
    row = dataclasses.asdict(info) | {"name": _key(info.name), "models": list(info.models), "drain": 0}
    row |= _columns(WorkerStatus(WorkerState.STARTING)) | {"started_at": now(), "seen_at": now()}
    values = {name: value for name, value in row.items() if name != "name"}
    worker_id: int = insert_or_update(session, table, row, key=(table.c.name,), update=values)
    return worker_id


def beat(session: Session, worker_id: int, status: WorkerStatus) -> bool:
    """Record a worker's heartbeat and status; True: it must finish its chunk and exit."""
    return _update(session, worker_id, _columns(status))


def stop(session: Session, worker_id: int, status: WorkerStatus) -> None:
    """Say that a worker has ended, with its last counts."""
    ended: dict[str, Any] = {"state": WorkerState.STOPPED, "job_id": None, "chunk_id": None, "loaded": []}
    _update(session, worker_id, _columns(status) | ended)
    name = select(table.c.name).where(table.c.id == worker_id).scalar_subquery()
    session.execute(load_failure.delete().where(load_failure.c.worker == name))


def list_workers(session: Session, *, lost_after: float = 60.0) -> list[WorkerRecord]:
    """Return the workers, ordered by name.

    One without a heartbeat for `lost_after` seconds is lost. Those gone for more than a day are omitted.
    """
    ago = (now() - table.c.seen_at).label("seen_ago")
    rows = session.execute(select(table, ago).where(table.c.seen_at > now() - SHOWN).order_by(table.c.name))
    return [_record(row, lost_after) for row in rows.mappings()]


def drain(session: Session, names: Sequence[str] | None) -> list[str]:
    """Tell workers to finish their chunk and exit; return the names of those told.

    A worker goes by its name, a beginning of the name that no other has, its id, or its host (which may be
    several); None: all of them. Raises `WorkerNotFound`, and tells none, if a name is nobody's or not clear.
    """
    there = [worker for worker in list_workers(session) if worker.state != WorkerState.STOPPED]
    if names is None:
        ids = {worker.id for worker in there}
    else:
        ids = {worker.id for name in names for worker in _find(there, name)}
    session.execute(table.update().where(table.c.id.in_(ids)).values(drain=1))
    return [worker.name for worker in there if worker.id in ids]


def note_load_failure(session: Session, worker: str, model: str, error: str) -> None:
    """Note that a worker could not load a model."""
    row = {"worker": _key(worker), "model": _key(model), "error": error, "failed_at": now(), "attempts": 1}
    key = (load_failure.c.worker, load_failure.c.model)
    again = {"error": error, "failed_at": now(), "attempts": load_failure.c.attempts + 1}
    insert_or_update(session, load_failure, row, key=key, update=again)


def clear_load_failure(session: Session, worker: str, model: str) -> None:
    """Note that a worker could load a model after all."""
    same = (load_failure.c.worker == _key(worker)) & (load_failure.c.model == _key(model))
    session.execute(load_failure.delete().where(same))


def load_failures(session: Session, model: str) -> list[LoadFailure]:
    """Return the workers that failed to load a model when they last tried, ordered by name."""
    failed = load_failure
    recent = (failed.c.model == _key(model)) & (failed.c.failed_at > now() - SHOWN)
    rows = session.execute(select(failed).where(recent).order_by(failed.c.worker)).mappings()
    return [LoadFailure(**row) for row in rows]


def _columns(status: WorkerStatus) -> dict[str, Any]:
    names = [each.name for each in dataclasses.fields(WorkerStatus)]
    changed = {"loaded": list(status.loaded), "failures": dict(status.failures)}
    return {name: getattr(status, name) for name in names} | changed


def _update(session: Session, worker_id: int, values: Mapping[str, Any]) -> bool:
    update = table.update().where(table.c.id == worker_id).values({**values, "seen_at": now()})
    return bool(session.scalar(update.returning(table.c.drain)))


def _record(row: RowMapping, lost_after: float) -> WorkerRecord:
    changed: dict[str, Any] = {name: tuple(row[name]) for name in ("models", "loaded")}
    changed["state"] = WorkerState(row["state"])
    changed["drain"] = bool(row["drain"])
    changed["seen_ago"] = max(0.0, row["seen_ago"])
    changed["lost"] = row["state"] != WorkerState.STOPPED and row["seen_ago"] > lost_after
    return WorkerRecord(**{**row, **changed})


def _find(workers: Sequence[WorkerRecord], name: str) -> list[WorkerRecord]:
    for matches in (
        [worker for worker in workers if worker.name == name],
        [worker for worker in workers if str(worker.id) == name],
        [worker for worker in workers if worker.host == name],
    ):
        if matches:
            return matches
    matches = [worker for worker in workers if worker.name.startswith(name)]
    if len(matches) > 1:
        raise WorkerNotFound(f"{len(matches)} workers' names begin with {name!r}: {_list(matches)}")
    if not matches:
        raise WorkerNotFound(f"no worker {name!r}: see `patchgrid worker list`")
    return matches


def _list(workers: Sequence[WorkerRecord]) -> str:
    more = f" and {len(workers) - 3} more" if len(workers) > 3 else ""
    return ", ".join(worker.name for worker in workers[:3]) + more


def _key(name: str) -> str:
    return name[:_LONGEST]
