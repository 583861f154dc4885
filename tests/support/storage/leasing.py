"""Short words for what tests do with leases."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import case, select, true

from patchgrid.storage import Database
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.export import FIELDS, export_rows
from patchgrid.storage.queue import leases
from patchgrid.storage.queue.leases import Lease
from patchgrid.storage.tables import chunk
from support.storage.chunk_results import chunk_result


def claim(database: Database, worker: str = "worker", *, seconds: float = 60, **options: Any) -> Lease:
    """Claim a chunk that must be there."""
    with database.write() as session:
        lease = leases.claim(session, worker, lease_seconds=seconds, **options)
    assert lease is not None
    return lease


def expire(database: Database, lease: Lease | None = None) -> None:
    """Let a chunk's lease run out, or its pause after a failure; without one those of all chunks."""
    over = {"not_before": 0.0, "lease_until": case((chunk.c.lease_until.is_not(None), 0.0))}
    with database.write() as session:
        chosen = true() if lease is None else chunk.c.id == lease.chunk_id
        session.execute(chunk.update().where(chosen).values(over))


def nothing_to_claim(database: Database, **options: Any) -> bool:
    """Tell whether there is no chunk to claim now."""
    with database.write() as session:
        return leases.claim(session, "worker", **options) is None


def note(database: Database, lease: Lease, index: int) -> bool:
    """Note a pair."""
    with database.write() as session:
        return leases.note_pair(session, lease, index)


def note_computed(database: Database, lease: Lease, *, seconds: float = 60) -> bool:
    """Note that a chunk is measured."""
    with database.write() as session:
        return leases.note_computed(session, lease, seconds)


def finish(database: Database, job: JobRecord, lease: Lease, *, failed: Collection[int] = ()) -> bool:
    """Hand in a lease's results."""
    with database.write() as session:
        return leases.finish(session, lease, chunk_result(job, lease, failed=failed))


def fail(database: Database, lease: Lease, *, retry_in: float = 0) -> bool:
    """Hand in a failed attempt."""
    with database.write() as session:
        return leases.fail(session, lease, "out of memory", retry_in=retry_in)


def chunks(database: Database, job: JobRecord) -> list[tuple[int, int, str, int]]:
    """Return the first pair, the last, the state and the attempts of the job's chunks, by their pairs."""
    columns = (chunk.c.first, chunk.c.last, chunk.c.state, chunk.c.attempts)
    with database.read() as session:
        rows = session.execute(select(*columns).where(chunk.c.job_id == job.id).order_by(chunk.c.first))
        return [(row.first, row.last, row.state, row.attempts) for row in rows]


def everything(database: Database, job: JobRecord) -> dict[str, list[dict[str, object]]]:
    """Return every export of a job."""
    return {what: list(export_rows(database, job, what)) for what in FIELDS}
