"""Submitting: a pair file of any size, stored as a job completely or not at all, and only once."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from patchgrid.api.routes.jobs import job_document
from patchgrid.api.schemas.jobs import Submitted
from patchgrid.api.schemas.request_models import JobRequest, Submission, Word
from patchgrid.api.service.access import Caller, Shared
from patchgrid.api.service.access import Submitter as MaySubmit
from patchgrid.api.service.asking import as_json, refusals
from patchgrid.api.service.service import Service
from patchgrid.api.service.settings import AllowedModel
from patchgrid.api.web.problems import Problem, validation
from patchgrid.api.web.upload import Upload, is_form, received
from patchgrid.core.states import RUNNABLE_JOBS
from patchgrid.pairs import PairFile
from patchgrid.pairs.source import Source
from patchgrid.storage.access.submitting import Order, Submitter, store
from patchgrid.storage.errors import PriorityTooHigh

router = APIRouter(tags=["jobs"])

_FORM = {
    "type": "object",
    "required": ["spec", "pairs"],
    "properties": {
        "spec": {"$ref": "#/components/schemas/JobRequest"},
        "pairs": {"type": "string", "format": "binary", "description": "The pair file"},
    },
}
_FILE = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "A form with `spec` and the file `pairs`, or the pair file itself (JSON Lines, CSV, "
        "auto-circuit's JSON, Parquet) with the spec as query parameters.",
        "content": {
            "multipart/form-data": {
                "schema": _FORM,
                "encoding": {"spec": {"contentType": "application/json"}},
            },
            "application/x-ndjson": _FILE,
            "text/csv": _FILE,
            "application/vnd.apache.parquet": _FILE,
        },
    }
}


@router.post(
    "/v1/jobs",
    status_code=201,
    response_model=Submitted,
    responses={
        200: {"description": "The job already existed", "model": Submitted},
        **refusals(400, 408, 409, 413, 415),
    },
    openapi_extra=_BODY,
)
async def submit(
    request: Request,
    service: Shared,
    caller: MaySubmit,
    idempotency_key: Annotated[Word | None, Header(max_length=255)] = None,
) -> Response:
    """Submit a job: 201 with the new job, or 200 with the existing job of these pairs and settings.

    The caller becomes an owner of that job; if it was cancelled, it is reopened.
    """
    async with service.uploads.awaited(caller.key, service.settings.upload_waits):
        # What the query asks for can be refused before the file comes.
        submission = _from_query(request) if not is_form(request) or request.query_params else None
        if submission is not None:
            await run_in_threadpool(_check_model, service, submission)
            _check_priority(caller, submission.priority)
        async with received(request, service.settings.upload_bytes) as upload:
            if upload.fields or submission is None:
                submission = _from_form(upload)
                await run_in_threadpool(_check_model, service, submission)
                _check_priority(caller, submission.priority)
            if not upload.has_file:
                detail = "the pair file is missing: send it as the part 'pairs', or as the body"
                raise Problem(422, "no-pairs", detail)
            document = await run_in_threadpool(_store, service, caller, submission, upload, idempotency_key)
    answer = as_json(document)
    status = 201 if document["created"] else 200
    headers = {"Location": f"/v1/jobs/{document['job']}"}
    return Response(answer.body, status, headers, media_type=answer.media_type)


def _from_form(upload: Upload) -> Submission:
    """Read the request in the form's `spec`."""
    others = upload.fields.keys() - {"spec"}
    if others:
        raise Problem(422, "bad-form", f"unknown part {min(others)!r}; available: 'spec', 'pairs'")
    try:
        values = json.loads(upload.fields.get("spec", "{}"))
    except (ValueError, RecursionError) as error:
        raise _bad_value("spec", f"is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise _bad_value("spec", "must be a JSON object")
    return _request(values)


def _from_query(request: Request) -> Submission:
    """Read the request in the query."""
    return _request(dict(request.query_params))


def _request(values: dict[str, Any]) -> Submission:
    sites = values.get("sites")
    if isinstance(sites, str):
        values["sites"] = [site.strip() for site in sites.split(",") if site.strip()]
    refinements = values.get("refinements")
    if isinstance(refinements, str):
        try:
            values["refinements"] = json.loads(refinements)
        except (ValueError, RecursionError) as error:
            raise _bad_value("refinements", f"is not JSON: {error}") from None
    try:
        return JobRequest.model_validate(values)
    except ValidationError as error:
        raise validation(error.errors(include_url=False, include_context=False)) from None


def _bad_value(field: str, detail: str) -> Problem:
    return Problem(422, "bad-value", f"{field}: {detail}", errors=[{"field": field, "detail": detail}])


def _check_model(service: Service, submission: Submission) -> None:
    """Refuse a model that is not on the list: its name would reach workers' disks and the hub."""
    allowed = service.models()
    if AllowedModel(submission.model, submission.revision) in allowed:
        return
    named = submission.model if submission.revision is None else f"{submission.model}@{submission.revision}"
    available = ", ".join(str(each) for each in allowed) or "none: no worker was here within the last day"
    detail = f"the model {named!r} is not allowed here; allowed: {available}"
    raise Problem(403, "model-not-allowed", detail, errors=[{"field": "model", "detail": "is not allowed"}])


def _check_priority(caller: Caller, priority: int) -> None:
    """Refuse a priority above the caller's."""
    most = caller.max_priority
    if most is not None and priority > most:
        raise PriorityTooHigh(
            f"priority {priority} is above this token's limit of {most}: submit with --priority {most} or "
            "below, or get a token with a higher --max-priority"
        )


def _store(
    service: Service, caller: Caller, submission: Submission, upload: Upload, idempotency_key: str | None
) -> dict[str, Any]:
    most = service.settings.pairs
    limit = min(submission.limit or most + 1, most + 1)
    spec = submission.spec()
    with PairFile(Source(upload.path, upload.name), limit, submission.columns_by_field) as file:
        summary = file.check()
        if summary.count > most:
            raise Problem(413, "too-many-pairs", f"more than {most:,} pairs, the most that this server takes")
        order = Order(
            spec,
            file,
            summary,
            submission.name,
            submission.key,
            submission.priority,
            submission.chunk_size,
            tuple(each.refinement() for each in submission.refinements),
        )
        by = Submitter(
            caller.token_id, idempotency_key, service.settings.open_jobs, most_bytes=caller.max_bytes
        )
        stored = store(service.database, order, by=by)
    with service.database.read() as session:
        document = job_document(session, stored.job)
    if stored.created or stored.reopened or (order.refinements and stored.job.state in RUNNABLE_JOBS):
        service.notify(stored.job.id)
    more = {"created": stored.created, "reopened": stored.reopened, "notes": list(summary.notes)}
    return document | more
