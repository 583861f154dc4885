"""What a server's answer means: a document, or the error that it tells of."""

import json
import math
from typing import Any

import httpx

from patchgrid.api.client.environment import TOKEN_VARIABLE
from patchgrid.api.client.http import errors
from patchgrid.api.client.http.errors import (
    NotPatchgrid,
    Refused,
    ServerError,
    ServerFailed,
)

#: The kind of document that a patchgrid server tells errors in.
PROBLEM = "application/problem+json"
#: Longest part of a foreign answer that is shown.
_LONGEST = 200
#: Statuses that ask to come back later.
LATER = (429, 503)
#: Seconds to wait where the answer does not say.
_WAIT = 2.0

_REFUSALS: dict[int, type[Refused]] = {
    401: errors.NotAuthorised,
    403: errors.NotAllowed,
    404: errors.NotThere,
    409: errors.NotNow,
    413: errors.TooLarge,
    501: errors.NotSupported,
}
#: What a proxy before the server means, by its status alone.
_OF_PROXIES = {
    413: "request too large for the server or a proxy in front of it",
    502: "a proxy in front of the server cannot reach it",
    503: "the server is unavailable",
    504: "a proxy in front of the server timed out",
}


def document(answer: httpx.Response) -> Any:
    """Return the JSON of a successful response."""
    kind = media_type(answer)
    if kind != "application/json":
        raise not_patchgrid(answer, f"a response of type {kind or 'unknown'!r}")
    try:
        return answer.json()
    except ValueError:
        raise not_patchgrid(answer, "invalid JSON") from None


def error_of(answer: httpx.Response) -> ServerError:
    """Return the error that a response describes; its body has been read."""
    status = answer.status_code
    if answer.has_redirect_location:
        to = answer.headers["location"]
        return NotPatchgrid(f"{_place(answer)} redirects to {clean(to)[:_LONGEST]}: use that server")
    problem = _problem(answer)
    if problem is None:
        return _foreign(answer)
    detail = clean(problem["detail"].strip()) or f"status {status}"
    if status == 401 and TOKEN_VARIABLE not in detail:
        detail = f"{detail} (set {TOKEN_VARIABLE} to the token)"
    if status in LATER:
        return errors.ServerBusy(detail)
    if status >= 500 and status not in _REFUSALS:
        return ServerFailed(f"{_place(answer)} failed: {detail}")
    listed = problem.get("errors")
    return _REFUSALS.get(status, Refused)(detail, listed if isinstance(listed, list) else ())


def wait_of(answer: httpx.Response, most: float) -> float:
    """Return the seconds to wait before retrying, at most `most`."""
    try:
        seconds = float(answer.headers.get("retry-after", _WAIT))
    except ValueError:
        seconds = _WAIT
    return min(max(seconds, 0.1), most) if math.isfinite(seconds) else most


def clean(text: str) -> str:
    """Escape control characters of a server's text, except newlines."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def media_type(answer: httpx.Response) -> str:
    """Return the media type of a response."""
    kind: str = answer.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def not_patchgrid(answer: httpx.Response, what: str) -> NotPatchgrid:
    """Return the error for a response that is not a patchgrid server's."""
    return NotPatchgrid(f"{_place(answer)} is not a patchgrid server: {what}")


def _problem(answer: httpx.Response) -> dict[str, Any] | None:
    if media_type(answer) != PROBLEM:
        return None
    try:
        document = json.loads(answer.content)
    except ValueError:
        return None
    return document if isinstance(document, dict) and isinstance(document.get("detail"), str) else None


def _foreign(answer: httpx.Response) -> ServerError:
    """Return the error of a response that is not from patchgrid: from a proxy or another program."""
    status = answer.status_code
    words = _OF_PROXIES.get(status)
    if status == 413:
        return errors.TooLarge(f"{_place(answer)}: {words}")
    if status in LATER:
        return errors.ServerBusy(f"{_place(answer)}: {words or 'too many requests'}")
    if words is not None:
        return ServerFailed(f"{_place(answer)}: {words} (status {status})")
    return not_patchgrid(answer, f"status {status}")


def _place(answer: httpx.Response) -> str:
    url = answer.request.url
    port = "" if url.port is None else f":{url.port}"
    return f"{url.scheme}://{url.host}{port}"
