"""A job's progress: its pairs and chunks by state."""

from dataclasses import dataclass

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.orm import Session

from patchgrid.core.states import FINISHED_CHUNKS, OPEN_CHUNKS
from patchgrid.storage.tables import chunk, job

# Asked once a chunk: building it takes longer than running it.
_COUNTS = select(
    func.coalesce(func.sum(chunk.c.last - chunk.c.first), 0).label("total"),
    func.coalesce(func.sum(chunk.c.done), 0).label("done"),
    func.coalesce(func.sum(chunk.c.failed), 0).label("failed"),
    func.coalesce(func.sum(chunk.c.skipped), 0).label("skipped"),
    func.count().label("chunks_total"),
    *(
        func.count(case((chunk.c.state == state, 1))).label(f"chunks_{state}")
        for state in (*FINISHED_CHUNKS, *OPEN_CHUNKS)
    ),
).where(
    chunk.c.job_id == bindparam("of_job"),
    chunk.c.round.is_not_distinct_from(
        select(job.c.rounds).where(job.c.id == bindparam("of_job")).scalar_subquery()
    ),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """A job's progress; of one with later rounds, in the last of them."""

    #: Pairs in the job.
    total: int
    #: Pairs measured.
    done: int
    #: Pairs that failed.
    failed: int
    #: Pairs skipped because the model gets them wrong (`only_correct`).
    skipped: int
    #: Chunks in the job.
    chunks_total: int
    #: Chunks measured.
    chunks_done: int
    #: Chunks failed after too many attempts (their pairs count as failed).
    chunks_failed: int
    #: Pending chunks.
    chunks_pending: int
    #: Leased chunks.
    chunks_leased: int
    #: Chunks of a paused job.
    chunks_held: int

    @property
    def reached(self) -> int:
        """Finished pairs: measured, failed or skipped."""
        return self.done + self.failed + self.skipped

    @property
    def left(self) -> int:
        """Unfinished pairs."""
        return self.total - self.reached


def job_progress(session: Session, job_id: int) -> Progress:
    """Count a job's pairs and chunks by state; cheap at any size."""
    row = session.execute(_COUNTS, {"of_job": job_id}).mappings().one()
    return Progress(**{name: int(value) for name, value in row.items()})
