"""Jobs: the list, one in full, and steering it."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from patchgrid.api.schemas.jobs import Cancelled, Job, JobInFull, Jobs, Refinements, Retried, Withdrawn
from patchgrid.api.schemas.request_models import RefinementRequest, Word
from patchgrid.api.service.access import Caller, Reader, Shared, Submitter, check_own
from patchgrid.api.service.asking import (
    Cursor,
    Form,
    JobName,
    as_json,
    ask,
    listed,
    listings,
    refusals,
    respond,
)
from patchgrid.api.service.service import Service
from patchgrid.api.web import cursors
from patchgrid.api.web.answers import Answer
from patchgrid.api.web.problems import Problem
from patchgrid.core.states import ENDED_JOBS, JobState
from patchgrid.storage.access import ownership, quotas
from patchgrid.storage.jobs import deletion, job_list, jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.output.documents import job_json
from patchgrid.storage.output.refinements import refinement_json
from patchgrid.storage.output.standing import owners_json, standing, standing_json
from patchgrid.storage.queue import control
from patchgrid.storage.rounds.requests import list_refinements

router = APIRouter(tags=["jobs"])

Everyone = Annotated[bool, Query(description="For all owners; needs scope admin")]


@router.get("/v1/jobs", response_model=Jobs, responses=listings())
def list_jobs(
    request: Request,
    service: Shared,
    _: Reader,
    state: JobState | None = None,
    model: Word | None = None,
    search: Annotated[Word | None, Query(description="Search in id, name and model")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Cursor = None,
    form: Form = "json",
) -> Response:
    """List the jobs, the newest first."""
    place = cursors.read(cursor, 1)
    before = None if place is None else place[0]
    with service.database.read() as session:
        records = job_list.page(
            session, before=before, limit=limit + 1, state=state, model=model, search=search
        )
        shown = records[:limit]
        owners = ownership.owner_names(session, [record.id for record, _ in shown])
    rows = [job_json(record, progress) | owners_json(owners.get(record.id, ())) for record, progress in shown]
    more = (shown[-1][0].id,) if len(records) > limit else None
    document = {"next": cursors.write(more), "items": rows}
    return respond(request, listed(form, document, "jobs", Job))


@router.get("/v1/jobs/{job}", response_model=JobInFull, responses=refusals(404))
def show_job(request: Request, service: Shared, caller: Reader, job: JobName) -> Response:
    """Show a job's settings, progress, workers and provenance."""
    # Workers come and go after the job's end, too.
    return ask(
        service,
        request,
        caller,
        job,
        lambda session, record: as_json(standing_json(standing(session, record))),
        lasting=False,
    )


@router.delete(
    "/v1/jobs/{job}",
    status_code=204,
    response_class=Response,
    responses={200: {"description": "The job has other owners", "model": Withdrawn}, **refusals(404)},
)
def delete_job(service: Shared, caller: Submitter, job: JobName, everyone: Everyone = False) -> Response:
    """Delete a job with its pairs and all its results: 204.

    A job that others own, too, is kept for them: the caller withdraws from it (200).
    """
    with service.database.write() as session:
        record = _steered(session, caller, job, everyone=everyone)
        left = ownership.delete(session, record.id, caller.owner, everyone=everyone)
    if not left:
        deletion.finish(service.database)
        return Response(status_code=204)
    answer = as_json({"job": record.id, "remaining_owners": left})
    return Response(answer.body, media_type=answer.media_type)


@router.post("/v1/jobs/{job}/cancel", response_model=Cancelled, responses=refusals(404, 409))
def cancel_job(
    service: Shared, caller: Submitter, job: JobName, everyone: Everyone = False
) -> dict[str, Any]:
    """Cancel a job: nothing more of it is measured, what was measured stays.

    A job with other owners continues for them (`remaining_owners`): the caller withdraws from it.
    """
    with service.database.write() as session:
        record = _steered(session, caller, job, everyone=everyone)
        left = ownership.cancel(session, record.id, caller.owner, everyone=everyone)
        return job_document(session, jobs.get(session, record.id)) | {"remaining_owners": left}


@router.post("/v1/jobs/{job}/pause", response_model=Job, responses=refusals(404, 409))
def pause_job(service: Shared, caller: Submitter, job: JobName) -> dict[str, Any]:
    """Pause a job: chunks being measured are finished, no new ones are started.

    A job of several owners is paused by admins alone.
    """
    return _change(
        service,
        caller,
        job,
        lambda session, job_id: ownership.pause(session, job_id, caller.owner, everyone=caller.is_admin),
    )


@router.post("/v1/jobs/{job}/resume", response_model=Job, responses=refusals(404, 409))
def resume_job(service: Shared, caller: Submitter, job: JobName) -> dict[str, Any]:
    """Resume a paused job."""
    document = _change(service, caller, job, control.unpause)
    service.notify(document["job"])
    return document


@router.post("/v1/jobs/{job}/retry", response_model=Retried, responses=refusals(404, 409, 413, 429))
def retry_job(service: Shared, caller: Submitter, job: JobName) -> dict[str, Any]:
    """Retry failed or cancelled chunks; pairs with a permanent error are not retried."""
    again, limits = 0, service.settings
    by = ownership.Submitter(caller.token_id, most_open=limits.open_jobs, most_bytes=caller.max_bytes)

    def reopen(session: Session, job_id: int) -> None:
        nonlocal again
        again = quotas.reopen(session, job_id, by)

    document = _change(service, caller, job, reopen)
    service.notify(document["job"])
    return document | {"chunks_retried": again}


@router.post("/v1/jobs/{job}/refine", response_model=Job, responses=refusals(400, 404, 409, 413, 429))
def refine_job(
    service: Shared, caller: Submitter, job: JobName, request: RefinementRequest
) -> dict[str, Any]:
    """Patch more of a job that is done: more cells, the largest components, named ones, a certificate.

    The job is queued again, unless nothing is left to patch. What was patched is never patched again.
    """
    asked, limits = request.refinement(), service.settings
    by = ownership.Submitter(caller.token_id, most_open=limits.open_jobs, most_bytes=caller.max_bytes)
    document = _change(
        service, caller, job, lambda session, job_id: quotas.refine(session, job_id, asked, by)
    )
    if document["state"] not in ENDED_JOBS:
        service.notify(document["job"])
    return document


@router.get("/v1/jobs/{job}/refinements", response_model=Refinements, responses=refusals(404))
def list_job_refinements(request: Request, service: Shared, caller: Reader, job: JobName) -> Response:
    """List a job's refinements in order, certificates in full."""

    def make(session: Session, record: JobRecord) -> Answer:
        items = [refinement_json(each) for each in list_refinements(session, record.id)]
        return as_json({"job": record.id, "items": items})

    # A request that is known already changes no job.
    return ask(service, request, caller, job, make, lasting=False)


def _change(
    service: Service, caller: Caller, name: str, change: Callable[[Session, int], object]
) -> dict[str, Any]:
    """Change one of the caller's jobs and return it."""
    with service.database.write() as session:
        record = _steered(session, caller, name)
        change(session, record.id)
        return job_document(session, jobs.get(session, record.id))


def _steered(session: Session, caller: Caller, name: str, *, everyone: bool = False) -> JobRecord:
    """Find a job that the caller may steer, for all of its owners if so asked."""
    record = job_list.find(session, name, caller.owner)
    if everyone and not caller.is_admin:
        raise Problem(403, "scope-missing", "`everyone` ends a job for all owners: it needs scope 'admin'")
    check_own(session, caller, record)
    return record


def job_document(session: Session, record: JobRecord) -> dict[str, Any]:
    """Return a job as in the list of jobs."""
    owners = ownership.owner_names(session, [record.id]).get(record.id, ())
    return job_json(record, job_progress(session, record.id)) | owners_json(owners)
