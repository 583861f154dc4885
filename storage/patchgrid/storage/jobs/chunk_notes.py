"""What a job's chunks went through: how many are where, and how many ended badly on the way."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.tables import chunk


@dataclass(frozen=True, slots=True)
class Troubles:
    """How often a job's chunks had to be begun again."""

    #: Chunks that lost their worker, or failed, and were tried again.
    tried_again: int
    #: Chunks there are more than at submission: parts of those that were split to find a guilty pair.
    split_off: int


def chunk_counts(progress: Progress) -> dict[str, int]:
    """Count a job's chunks by state."""
    known = {
        "done": progress.chunks_done,
        "leased": progress.chunks_leased,
        "pending": progress.chunks_pending,
        "held": progress.chunks_held,
        "failed": progress.chunks_failed,
    }
    return known | {"cancelled": progress.chunks_total - sum(known.values())}


def troubles(session: Session, job: JobRecord, progress: Progress) -> Troubles:
    """Read what a job's chunks went through."""
    again = select(func.count()).where(chunk.c.job_id == job.id, chunk.c.attempts > 1)
    at_submission = -(-job.pairs // job.chunk_size)
    return Troubles(session.scalar(again) or 0, progress.chunks_total - at_submission)
