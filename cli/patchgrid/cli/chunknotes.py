"""What a job's chunks went through: how many are where, and how many ended badly on the way."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.storage.jobs import JobRecord, Progress
from patchgrid.storage.tables import chunk


@dataclass(frozen=True, slots=True)
class Troubles:
    """How often a job's chunks had to be begun again."""

    #: Chunks that lost their worker, or failed, and were tried again.
    tried_again: int
    #: Chunks there are more than at submission: parts of those that were split to find a guilty pair.
    split_off: int

    @property
    def words(self) -> str | None:
        """Say it, or None if there is nothing to say."""
        parts = [f"{self.tried_again:,} tried again"] if self.tried_again else []
        if self.split_off:
            parts.append(f"{self.split_off:,} split off to find a pair that ends its worker")
        return ", ".join(parts) or None


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


def chunk_words(progress: Progress) -> str:
    """Write the counts: `12 done, 3 leased, 40 pending`."""
    counts = [f"{count:,} {name}" for name, count in chunk_counts(progress).items() if count]
    return ", ".join(counts)


def troubles(session: Session, job: JobRecord, progress: Progress) -> Troubles:
    """Read what a job's chunks went through."""
    again = select(func.count()).where(chunk.c.job_id == job.id, chunk.c.attempts > 1)
    at_submission = -(-job.pairs // job.chunk_size)
    return Troubles(session.scalar(again) or 0, progress.chunks_total - at_submission)
