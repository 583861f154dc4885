"""A job's status: progress, its workers, and workers that could or cannot load its model."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from patchgrid.core.states import ENDED_JOBS, WorkerState
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress, job_progress
from patchgrid.storage.queue import leases, workers
from patchgrid.storage.queue.workers import LoadFailure, WorkerRecord
from patchgrid.storage.rounds.requests import RefinementRecord, latest


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A job at one moment."""

    job: JobRecord
    progress: Progress
    #: Workers that have a chunk of it now.
    at_work: tuple[WorkerRecord, ...]
    #: Number of living workers that serve its model.
    serving: int
    #: Why workers could not load its model.
    load_failures: tuple[LoadFailure, ...]
    #: The refinement whose round runs or will run next, else the last one.
    refinement: RefinementRecord | None = None

    @property
    def ended(self) -> bool:
        """Whether the job has ended."""
        return self.job.state in ENDED_JOBS


def look(session: Session, job_id: int) -> Snapshot:
    """Read a job's status."""
    job = jobs.get(session, job_id)
    model = job.spec.model
    # A worker reports its chunk every few seconds; the lease shows it at once.
    holders = leases.holders(session, job_id)
    living = [
        each for each in workers.list_workers(session) if not each.lost and each.state != WorkerState.STOPPED
    ]
    return Snapshot(
        job=job,
        progress=job_progress(session, job_id),
        at_work=tuple(
            each
            for each in living
            if each.name in holders or (each.job_id == job_id and each.chunk_id is not None)
        ),
        serving=sum(model in each.models and each.state != WorkerState.DRAINING for each in living),
        load_failures=tuple(workers.load_failures(session, model)),
        refinement=latest(session, job_id),
    )
