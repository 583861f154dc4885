"""What an earlier job of the same model took, to say what a new one will."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from patchgrid.core.types import JobSpec
from patchgrid.storage.jobs import job_list
from patchgrid.storage.results.verification import cost


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds per exact effect, and per pair for the scores of each method, as a job took."""

    #: The job's id.
    job: int
    effect: float
    scores: Mapping[str, float]


def pace(session: Session, spec: JobSpec) -> Pace | None:
    """Return the pace of the newest finished job with a spec's model and number type; None without one."""
    newest = job_list.page(session, before=None, limit=job_list.MOST, state="done", model=spec.model)
    for job, progress in newest:
        if job.patched and progress.done and (job.spec.model, job.spec.dtype) == (spec.model, spec.dtype):
            found = cost(session, job)
            if found.exact is not None and found.effects:
                scores = {name: each / 1000 for name, each in found.scores.items() if each is not None}
                return Pace(job.id, found.exact / 1000 * progress.done / found.effects, scores)
    return None
