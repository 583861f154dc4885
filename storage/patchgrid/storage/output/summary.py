"""A job's summary, as shown at the end of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from patchgrid.core.plain import plain
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.pair_notes import warnings_by_kind
from patchgrid.storage.jobs.progress import Progress, job_progress
from patchgrid.storage.output.documents import agreement_json, component_json, coverage_json, pair_counts
from patchgrid.storage.output.refinements import refinement_json
from patchgrid.storage.results import components, verification
from patchgrid.storage.results.advice import advise
from patchgrid.storage.results.components import ComponentRow
from patchgrid.storage.results.coverage import Coverage, coverage
from patchgrid.storage.results.rounding import job_rounding, rounding_json
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.results.task import job_task, task_json
from patchgrid.storage.results.verification import Cost
from patchgrid.storage.rounds.requests import RefinementRecord, list_refinements

#: Components and failed pairs shown at the end of a run.
SHOWN_COMPONENTS, SHOWN_ERRORS = 10, 3


@dataclass(frozen=True, slots=True)
class Summary:
    """A job's state and its main results."""

    job: JobRecord
    progress: Progress
    #: Whether the model does the task, as returned by `results.task.task_json`.
    task: Mapping[str, Any] | None
    #: How much of an effect may be rounding, as returned by `results.rounding.rounding_json`.
    rounding: Mapping[str, Any] | None
    top: Sequence[ComponentRow]
    coverage: Coverage
    verification: Sequence[SiteAgreement]
    cost: Cost
    #: Each kind of warning with the number of pairs it was given for.
    warnings: Sequence[tuple[str, int]]
    #: The first failed pairs with their reasons.
    errors: Sequence[tuple[int | str, str]]
    #: What was patched beyond the sample, in order.
    refinements: Sequence[RefinementRecord]


def summarize(session: Session, job_id: int, *, k: int = SHOWN_COMPONENTS) -> Summary:
    """Read a job's results."""
    job = jobs.get(session, job_id)
    return Summary(
        job=job,
        progress=job_progress(session, job_id),
        task=task_json(job_task(session, job)),
        rounding=rounding_json(job_rounding(session, job)),
        top=components.top(session, job, k),
        coverage=coverage(session, job),
        verification=verification.verification(session, job),
        cost=verification.cost(session, job),
        warnings=warnings_by_kind(session, job_id),
        errors=jobs.errors(session, job_id)[:SHOWN_ERRORS],
        refinements=list_refinements(session, job_id),
    )


def summary_json(summary: Summary, elapsed: float) -> dict[str, Any]:
    """Return the document that `run --json` prints."""
    job, progress = summary.job, summary.progress
    return {
        "job": job.id,
        "state": job.state,
        "pairs": pair_counts(progress),
        "name": job.name,
        "key": job.key,
        "seconds": round(elapsed, 3),
        "task": summary.task,
        "rounding": summary.rounding,
        "top": [component_json(row) for row in summary.top],
        "coverage": coverage_json(summary.coverage),
        "verification": [agreement_json(row, summary.cost) for row in summary.verification],
        "advice": plain(advise(job, summary.verification, summary.cost)),
        "warnings": [{"warning": text, "pairs": count} for text, count in summary.warnings],
        "errors": [{"pair": pair, "error": error} for pair, error in summary.errors],
        "refinements": [refinement_json(each) for each in summary.refinements],
    }
