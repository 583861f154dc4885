"""Counts of a job's chunks by state, and of retries and splits."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.tables import chunk


@dataclass(frozen=True, slots=True)
class Troubles:
    """How often a job's chunks were retried or split."""

    #: Chunks that lost their worker, or failed, and were retried.
    retried: int
    #: Chunks added since submission by splitting, to find a pair that kills its worker.
    split: int


def chunk_counts(progress: Progress) -> dict[str, int]:
    """Count a job's chunks by state."""
    counts = {
        "done": progress.chunks_done,
        "leased": progress.chunks_leased,
        "pending": progress.chunks_pending,
        "held": progress.chunks_held,
        "failed": progress.chunks_failed,
    }
    return counts | {"cancelled": progress.chunks_total - sum(counts.values())}


def troubles(session: Session, job: JobRecord, progress: Progress) -> Troubles:
    """Read a job's retries and splits."""
    again = select(func.count()).where(chunk.c.job_id == job.id, chunk.c.attempts > 1)
    at_submission = -(-job.pairs // job.chunk_size)
    return Troubles(session.scalar(again) or 0, progress.chunks_total - at_submission)
