"""Errors as problem details (RFC 9457): which status, and in words what to do."""

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from patchgrid.engine.errors import PatchgridError, SpecError
from patchgrid.engine.packages import MissingExtraError
from patchgrid.pairs.errors import PairFileError
from patchgrid.storage import errors

_log = logging.getLogger(__name__)

#: What the problem is called, behind this.
TYPE = "urn:patchgrid:problem:"
MEDIA_TYPE = "application/problem+json"
#: Seconds after which a client may try again while the database is away, or busy.
RETRY_AFTER = 5
#: Problems of single fields or lines that one answer tells.
_SHOWN = 20

_STATUS: dict[type[PatchgridError], int] = {
    errors.JobNotFound: 404,
    errors.PairNotFound: 404,
    errors.NothingKept: 404,
    errors.JobFinished: 409,
    errors.KeyTaken: 409,
    errors.PairsRefused: 422,
    errors.IdempotencyKeyReused: 422,
    errors.TooManyOpenJobs: 429,
    errors.DatabaseUnavailable: 503,
    errors.DatabaseLocked: 503,
    errors.DatabaseFull: 503,
    errors.DatabaseMissing: 503,
    errors.CorruptData: 500,
    MissingExtraError: 501,
    PairFileError: 422,
    errors.SearchRefused: 422,
    SpecError: 422,
}


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it so)
    """A request that is not carried out."""

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
        #: What is wrong with single lines and fields.
        self.errors = errors
        self.headers = headers or {}

    def response(self, request: Request) -> JSONResponse:
        """Give the answer."""
        return JSONResponse(self.document(request.url.path), self.status, self.headers, media_type=MEDIA_TYPE)

    def document(self, path: str) -> dict[str, Any]:
        """Give the document, of a request for this path."""
        document: dict[str, Any] = {
            "type": TYPE + self.kind,
            "title": self.kind.replace("-", " "),
            "status": self.status,
            "detail": self.detail,
            "instance": path,
        }
        return document | ({"errors": list(self.errors)} if self.errors else {})


def too_busy(what: str, seconds: int = RETRY_AFTER) -> Problem:
    """Give the problem of a server that has its hands full."""
    return Problem(503, "busy", what, headers={"Retry-After": str(seconds)})


def of_error(error: PatchgridError) -> Problem:
    """Give the problem that one of patchgrid's own errors is."""
    known = next((kind for kind in type(error).__mro__ if kind in _STATUS), None)
    status = 400 if known is None else _STATUS[known]
    headers = {"Retry-After": str(RETRY_AFTER)} if status in (429, 503) else None
    name = type(error if known is None else known).__name__ if known is None else known.__name__
    lines = [_line(each) for each in getattr(error, "lines", ())]
    return Problem(status, _dashed(name), str(error), errors=lines, headers=headers)


def install(app: FastAPI) -> None:
    """Have an application answer every error with a problem."""

    @app.exception_handler(Problem)
    async def own(request: Request, problem: Problem) -> JSONResponse:
        return problem.response(request)

    @app.exception_handler(PatchgridError)
    async def ours(request: Request, error: PatchgridError) -> JSONResponse:
        problem = of_error(error)
        if problem.status >= 500:
            _log.warning("%s %s: %s", request.method, request.url.path, error)
        return problem.response(request)

    @app.exception_handler(RequestValidationError)
    async def refused(request: Request, error: RequestValidationError) -> JSONResponse:
        return validation(error.errors()).response(request)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        kind = {404: "no-such-path", 405: "method-not-allowed"}.get(error.status_code, "refused")
        return Problem(
            error.status_code, kind, str(error.detail), headers=dict(error.headers or {})
        ).response(request)

    @app.exception_handler(PoolTimeout)
    async def no_connection(request: Request, _: PoolTimeout) -> JSONResponse:
        return too_busy("all connections to the database are in use").response(request)

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s", request.method, request.url.path, exc_info=error)
        detail = "a defect in patchgrid: the server's log says where; please report it"
        return Problem(500, "defect", detail).response(request)


def validation(found: Sequence[Any]) -> Problem:
    """Give the problem of values that pydantic refused: each with its field."""
    listed = [
        {"field": ".".join(str(part) for part in each["loc"] if part not in _PLACES), "detail": each["msg"]}
        for each in found[:_SHOWN]
    ]
    words = "; ".join(f"{each['field']}: {each['detail']}" for each in listed)
    return Problem(422, "bad-value", words, errors=listed)


#: What pydantic calls the places that values come from.
_PLACES = ("query", "path", "header", "cookie", "body")


def _line(line: Any) -> dict[str, Any]:
    """Write down what is wrong with a line or a row of a pair file."""
    place = {} if line.number is None else {line.unit: line.number}
    field = {} if line.field is None else {"field": line.field}
    return {**place, **field, "detail": line.problem}


def _dashed(name: str) -> str:
    words = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name)
    return words.lstrip("-").removesuffix("-error")
