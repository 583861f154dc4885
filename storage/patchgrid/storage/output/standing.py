"""All that is known of a job but its results: how it stands, who runs it, what made its numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from patchgrid.core.plain import plain
from patchgrid.storage.access import ownership
from patchgrid.storage.chunks import provenance
from patchgrid.storage.chunks.provenance import Provenance
from patchgrid.storage.jobs.chunk_notes import Troubles, troubles
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.pair_notes import warnings_by_kind
from patchgrid.storage.output.documents import job_json
from patchgrid.storage.output.refinements import latest_json
from patchgrid.storage.queue.job_status import Snapshot, look
from patchgrid.storage.results.rounding import job_rounding, rounding_json
from patchgrid.storage.results.task import job_task, task_json


@dataclass(frozen=True, slots=True)
class Standing:
    """A job, its workers and its history."""

    now: Snapshot
    made_by: Sequence[Provenance]
    #: Each kind of warning with the number of pairs it was given for.
    warnings: Sequence[tuple[str, int]]
    troubles: Troubles
    #: Whether the model does the task, as returned by `results.task.task_json`.
    task: Mapping[str, Any] | None
    #: How much of an effect may be rounding, as returned by `results.rounding.rounding_json`.
    rounding: Mapping[str, Any] | None
    #: The names of its owners, the first one first.
    owners: Sequence[str]


def standing(session: Session, job: JobRecord) -> Standing:
    """Read a job's status."""
    now = look(session, job.id)
    return Standing(
        now=now,
        made_by=provenance.provenances(session, job.id),
        warnings=warnings_by_kind(session, job.id),
        troubles=troubles(session, job, now.progress),
        task=task_json(job_task(session, job)),
        rounding=rounding_json(job_rounding(session, job)),
        owners=ownership.owner_names(session, [job.id]).get(job.id, ()),
    )


def owners_json(owners: Sequence[str]) -> dict[str, Any]:
    """Return a job's owners as a note beside it."""
    return {"submitted_by": owners[0] if owners else None, "owners": list(owners)}


def standing_json(standing: Standing) -> dict[str, Any]:
    """Return it as JSON: the service's answer about a job, and the output of `job show --json`."""
    now = standing.now
    return {
        **job_json(now.job, now.progress),
        **owners_json(standing.owners),
        "task": standing.task,
        "rounding": standing.rounding,
        "provenance": plain(standing.made_by),
        "warnings": [{"warning": text, "pairs": count} for text, count in standing.warnings],
        "troubles": plain(standing.troubles),
        "workers": plain(now.at_work),
        "serving": now.serving,
        "load_failures": plain(now.load_failures),
        "refinement": latest_json(now.refinement),
    }
