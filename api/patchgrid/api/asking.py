"""From a request to its answer: asking once, JSON or CSV."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request, Response
from sqlalchemy.orm import Session

from patchgrid.api.answers import Answer
from patchgrid.api.asked import Word
from patchgrid.api.problems import MEDIA_TYPE
from patchgrid.api.schemas import ProblemDetails
from patchgrid.api.service import Service
from patchgrid.storage import joblist
from patchgrid.storage.jobs import ENDED, JobRecord

#: Seconds that an answer about a job that goes on is good for.
FRESH = 1.0

JobName = Annotated[Word, Path(description="A job's id, its name, or `last`")]
Form = Annotated[Literal["json", "csv"], Query(alias="format", description="csv: the rows, as a download")]
Cursor = Annotated[str | None, Query(description="`next` of the page before")]
Make = Callable[[Session, JobRecord], Answer]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe for OpenAPI the problems that an operation may answer with."""
    always = (401, 403, 422, 429, 500, 503)
    return {
        status: {"description": "A problem", "model": ProblemDetails, "content": {MEDIA_TYPE: {}}}
        for status in (*always, *statuses)
    }


def listings(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe for OpenAPI an operation that gives a list as JSON or as CSV, and its problems."""
    return {200: {"description": "The rows", "content": {"text/csv": {}}}, **refusals(*statuses)}


def ask(service: Service, request: Request, name: str, make: Make, *, lasting: bool = True) -> Response:
    """Answer a question about a job: made once for an ended job, once a second for another.

    Not `lasting`: what is asked changes for ended jobs, too.
    """
    with service.database.read() as session:
        job = joblist.find(session, name)
        ended = lasting and job.state in ENDED
        asked = tuple(sorted(request.query_params.multi_items()))
        question = request.url.path.removeprefix("/v1/jobs/").partition("/")[2]
        key = (job.id, job.key, job.state, job.finished_at, question, asked)
        answer = service.answers.get(
            key, lambda: make(session, job), seconds=float("inf") if ended else FRESH
        )
    return respond(request, answer)


def respond(request: Request, answer: Answer) -> Response:
    """Send an answer, or word that the client has it already."""
    headers = {"ETag": answer.etag, "Cache-Control": "private, no-cache", **dict(answer.headers)}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if answer.etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(answer.body, media_type=answer.media_type, headers=headers)


def as_json(document: Any) -> Answer:
    """Write a document of plain values."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Answer(text.encode())


def listed(form: str, items: Sequence[Mapping[str, Any]], more: Mapping[str, Any], name: str) -> Answer:
    """Write a list as JSON, with `more` beside it, or its rows as CSV, to be kept as `name`."""
    if form == "json":
        return as_json({**more, "items": items})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if items:
        writer.writerow(items[0])
        writer.writerows([_cell(value) for value in row.values()] for row in items)
    headers = [("Content-Disposition", f'attachment; filename="{name}.csv"')]
    if "total" in more:
        headers.append(("X-Total-Count", str(more["total"])))
    if more.get("next"):
        headers.append(("X-Next-Cursor", more["next"]))
    return Answer(text.getvalue().encode(), "text/csv; charset=utf-8", tuple(headers))


def _cell(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, tuple, dict)) else value
