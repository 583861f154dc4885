"""Errors as problem details (RFC 9457): status and message."""

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from patchgrid.api.schemas.request_models import JobRequest
from patchgrid.core.errors import PatchgridError, SpecError
from patchgrid.core.names import suggestion
from patchgrid.core.packages import MissingExtraError
from patchgrid.pairs.errors import PairFileError
from patchgrid.pairs.records.columns import ColumnsError
from patchgrid.storage import errors

_log = logging.getLogger(__name__)

#: Prefix of problem types.
TYPE = "urn:patchgrid:problem:"
MEDIA_TYPE = "application/problem+json"
#: Retry-After while the database is unavailable or busy, in seconds.
RETRY_AFTER = 5
_HTTP = {
    404: ("no-such-path", "no such path: see /openapi.json"),
    405: ("method-not-allowed", "method not allowed: see /openapi.json"),
}
#: Most fields or lines listed in one response.
_SHOWN = 20

#: Status and problem type of our own errors.
_KNOWN: dict[type[PatchgridError], tuple[int, str]] = {
    errors.JobNotFound: (404, "no-such-job"),
    errors.PairNotFound: (404, "no-such-pair"),
    errors.NothingKept: (404, "not-stored"),
    errors.NotNormalised: (422, "not-normalised"),
    errors.NothingToRefine: (409, "nothing-to-refine"),
    errors.JobFinished: (409, "job-finished"),
    errors.KeyTaken: (409, "key-taken"),
    errors.PairsRefused: (422, "bad-pairs"),
    PairFileError: (422, "bad-pairs"),
    ColumnsError: (422, "bad-value"),
    errors.IdempotencyKeyReused: (422, "idempotency-key-reused"),
    errors.TooManyOpenJobs: (429, "too-many-open-jobs"),
    errors.QuotaExceeded: (413, "quota-exceeded"),
    errors.PriorityTooHigh: (403, "priority-too-high"),
    errors.JobShared: (409, "job-shared"),
    errors.SearchRefused: (422, "bad-value"),
    SpecError: (422, "bad-value"),
    errors.DatabaseUnavailable: (503, "database-unavailable"),
    errors.DatabaseMissing: (503, "database-unavailable"),
    errors.DatabaseGone: (503, "database-unavailable"),
    errors.DatabaseLocked: (503, "database-busy"),
    errors.DatabaseFull: (503, "database-full"),
    errors.NotADatabase: (503, "database-unavailable"),
    errors.DatabaseOlder: (503, "database-unavailable"),
    errors.DatabaseNewer: (503, "database-unavailable"),
    errors.CorruptData: (500, "damaged-data"),
    MissingExtraError: (501, "not-installed"),
}


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it so)
    """A request that failed."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[dict[str, Any]] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        #: A short name that stays the same: `job-not-found`.
        self.kind = kind
        self.detail = detail
        #: Errors of single lines and fields.
        self.errors = errors
        self.headers = headers or {}

    def response(self, request: Request) -> JSONResponse:
        """Return the answer."""
        return JSONResponse(self.document(request.url.path), self.status, self.headers, media_type=MEDIA_TYPE)

    def document(self, path: str) -> dict[str, Any]:
        """Return the document, of a request for this path."""
        document: dict[str, Any] = {
            "type": TYPE + self.kind,
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "instance": path,
        }
        return document | ({"errors": list(self.errors)} if self.errors else {})


def too_busy(what: str, seconds: int = RETRY_AFTER) -> Problem:
    """Return the problem of a server at its limits."""
    return Problem(503, "busy", what, headers={"Retry-After": str(seconds)})


def of_error(error: PatchgridError) -> Problem:
    """Return the problem of one of patchgrid's own errors."""
    refusals = (_KNOWN[kind] for kind in type(error).__mro__ if kind in _KNOWN)
    status, name = next(refusals, (400, "refused"))
    headers = {"Retry-After": str(RETRY_AFTER)} if status in (429, 503) else None
    parts = [_line(each) for each in getattr(error, "lines", ())]
    field = getattr(error, "field", None)
    if field is not None:
        parts.append({"field": field, "detail": str(error)})
    return Problem(status, name, str(error), errors=parts, headers=headers)


def install(app: FastAPI) -> None:
    """Make an application answer every error with a problem."""

    @app.exception_handler(Problem)
    async def own(request: Request, problem: Problem) -> JSONResponse:
        return problem.response(request)

    @app.exception_handler(PatchgridError)
    async def ours(request: Request, error: PatchgridError) -> JSONResponse:
        problem = of_error(error)
        if problem.status >= 500:
            _log.warning("%s %r: %s", request.method, request.url.path, error)
        return problem.response(request)

    @app.exception_handler(RequestValidationError)
    async def refused(request: Request, error: RequestValidationError) -> JSONResponse:
        return validation(error.errors()).response(request)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        kind, words = _HTTP.get(error.status_code, ("refused", str(error.detail)))
        return Problem(error.status_code, kind, words, headers=dict(error.headers or {})).response(request)

    @app.exception_handler(ClientDisconnect)
    async def disconnected(request: Request, _: ClientDisconnect) -> JSONResponse:
        # The client is gone.
        return Problem(
            400, "client-disconnected", "the client disconnected before its request was read"
        ).response(request)

    @app.exception_handler(Exception)
    async def internal_error(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %r", request.method, request.url.path, exc_info=error)
        detail = "internal error in patchgrid: see the server's log, and please report it"
        return Problem(500, "internal-error", detail).response(request)


def validation(errors: Sequence[Any]) -> Problem:
    """Return the problem of values that pydantic refused, each with its field."""
    listed = [
        {"field": ".".join(str(part) for part in each["loc"] if part not in _PLACES), "detail": _words(each)}
        for each in errors[:_SHOWN]
    ]
    words = "; ".join(f"{each['field']}: {each['detail']}" for each in listed)
    return Problem(422, "bad-value", words, errors=listed)


def _words(error: Any) -> str:
    """Return pydantic's message, or ours if that is clearer."""
    if error["type"] == "extra_forbidden":
        hint = suggestion("setting", str(error["loc"][-1]), tuple(JobRequest.model_fields)).rstrip()
        return f"is no field of a job{hint and f': {hint}'}"
    messages = {"missing": "is missing"}
    return str(messages.get(error["type"], error["msg"].removeprefix("Value error, ")))


#: pydantic's names of the sources of values.
_PLACES = ("query", "path", "header", "cookie", "body")


def _line(line: Any) -> dict[str, Any]:
    """Describe an error in a line or row of a pair file."""
    place = {} if line.number is None else {line.unit: line.number}
    field = {} if line.field is None else {"field": line.field}
    return {**place, **field, "detail": line.problem}
