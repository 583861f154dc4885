"""Signing in on the page: the token is stored in an HttpOnly cookie."""

import json

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from patchgrid.api.service.access import COOKIE, Shared, address_of
from patchgrid.api.service.asking import refusals
from patchgrid.api.service.service import Service
from patchgrid.api.web.problems import Problem
from patchgrid.api.web.upload import blocks
from patchgrid.storage.access import tokens

router = APIRouter(tags=["session"])

#: Largest sign-in document, in bytes.
_MOST = 4096
#: Seconds that a browser stays signed in.
_LASTS = 30 * 24 * 3600
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["token"],
                    "properties": {"token": {"type": "string", "minLength": 1, "maxLength": 200}},
                }
            }
        },
    }
}


@router.post("/session", status_code=204, responses=refusals(408, 413), openapi_extra=_BODY)
async def sign_in(request: Request, service: Shared) -> Response:
    """Store a token in an HttpOnly cookie of this site."""
    service.rate.take(address_of(request))
    body = bytearray()
    async for block in blocks(request):
        body += block
        if len(body) > _MOST:
            raise Problem(413, "too-large", "not a token")
    text = _read(bytes(body))
    if not await run_in_threadpool(_is_known, service, text):
        raise Problem(401, "token-required", "this token is unknown, revoked or expired")
    response = Response(status_code=204)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, text, max_age=_LASTS, httponly=True, samesite="strict", secure=secure)
    return response


@router.delete("/session", status_code=204, responses=refusals())
async def sign_out() -> Response:
    """Forget the token."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _read(body: bytes) -> str:
    try:
        document = json.loads(body)
        text = document["token"]
    except (ValueError, KeyError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str) or not text:
        field = {"field": "token", "detail": "must be text"}
        raise Problem(422, "bad-value", 'send {"token": "..."}', errors=[field])
    return text


def _is_known(service: Service, text: str) -> bool:
    with service.database.read() as session:
        return tokens.find(session, text) is not None
