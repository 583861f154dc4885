"""From a request to its answer: asking once, JSON or CSV."""

import dataclasses
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from patchgrid.api.schemas.problems import ProblemDetails
from patchgrid.api.schemas.request_models import Word
from patchgrid.api.service.access import Caller
from patchgrid.api.service.service import Service
from patchgrid.api.web.answers import Answer
from patchgrid.api.web.problems import MEDIA_TYPE
from patchgrid.core.states import ENDED_JOBS
from patchgrid.storage.access import ownership
from patchgrid.storage.jobs import job_list
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.row_files import csv_writer

#: Seconds for which a response about an unfinished job is cached.
FRESH = 1.0

#: What stands beside a list's rows, and the header of a CSV that has it.
_BESIDE = {"X-Total-Count": "total", "X-Next-Cursor": "next"}

JobName = Annotated[Word, Path(description="A job's id, name, or `last`")]
Form = Annotated[Literal["json", "csv"], Query(alias="format", description="csv: download the rows")]
Cursor = Annotated[str | None, Query(description="`next` of the previous page")]
Make = Callable[[Session, JobRecord], Answer]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe for OpenAPI the problems that an operation may answer with."""
    always = (401, 403, 422, 429, 500, 503)
    return {
        status: {"description": "A problem", "model": ProblemDetails, "content": {MEDIA_TYPE: {}}}
        for status in (*always, *statuses)
    }


def listings(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe for OpenAPI an operation that returns a list as JSON or CSV, and its problems."""
    return {200: {"description": "The rows", "content": {"text/csv": {}}}, **refusals(*statuses)}


def ask(
    service: Service, request: Request, caller: Caller, name: str, make: Make, *, lasting: bool = True
) -> Response:
    """Answer a question about a job: computed once for an ended job, at most once a second for another.

    A change that a user makes (state, priority, owners) shows at once, whichever server process made it.
    Not `lasting`: what is asked changes for ended jobs, too.
    """
    with service.database.read() as session:
        job = job_list.find(session, name, caller.owner)
        ended = lasting and job.state in ENDED_JOBS
        parameters = tuple(sorted(request.query_params.items()))
        question = request.url.path.removeprefix("/v1/jobs/").partition("/")[2]
        owners = ownership.owner_names(session, [job.id]).get(job.id, ())
        key = (job.id, job.key, job.state, job.priority, job.finished_at, owners, question, parameters)
        answer = service.answers.get(
            key, lambda: make(session, job), seconds=float("inf") if ended else FRESH
        )
    return respond(request, answer)


def respond(request: Request, answer: Answer) -> Response:
    """Send an answer, or word that the client has it already."""
    headers = {"ETag": answer.etag, "Cache-Control": "private, no-cache", **dict(answer.headers)}
    etags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if answer.etag.removeprefix("W/") in etags or "*" in etags:
        return Response(status_code=304, headers=headers)
    return Response(answer.body, media_type=answer.media_type, headers=headers)


def as_json(document: Any) -> Answer:
    """Write a document of plain values."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Answer(text.encode())


def listed(form: str, document: Mapping[str, Any], name: str, item: type[Any]) -> Answer:
    """Write a document as JSON, or its `items`, of this type, as rows of CSV to be kept as `name`."""
    if form == "json":
        return as_json(document)
    items: Sequence[Mapping[str, Any]] = document["items"]
    answer = as_csv(items, tuple(items[0] if items else _field_names(item)), name)
    beside = [
        (header, str(document[each])) for header, each in _BESIDE.items() if document.get(each) is not None
    ]
    return dataclasses.replace(answer, headers=(*answer.headers, *beside))


def _field_names(item: type[Any]) -> tuple[str, ...]:
    """Return the fields of a model or a dataclass in order."""
    if issubclass(item, BaseModel):
        return tuple(item.model_fields)
    return tuple(field.name for field in dataclasses.fields(item))


def as_csv(rows: Sequence[Mapping[str, Any]], fields: Sequence[str], name: str) -> Answer:
    """Write rows with these fields as CSV, to be kept as `name`."""
    text = io.StringIO()
    writer = csv_writer(text)
    writer.writerow(fields)
    writer.writerows([_cell(row[field]) for field in fields] for row in rows)
    disposition = ("Content-Disposition", f'attachment; filename="{name}.csv"')
    return Answer(text.getvalue().encode(), "text/csv; charset=utf-8", (disposition,))


def _cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, tuple, dict)) else value
