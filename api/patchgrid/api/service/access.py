"""Authentication and authorization: tokens, scopes, and the open server on loopback."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from patchgrid.api.service.service import Service
from patchgrid.api.web.problems import Problem
from patchgrid.storage.access import ownership, tokens
from patchgrid.storage.access.tokens import SCOPES
from patchgrid.storage.jobs.jobs import JobRecord

#: The page's session cookie.
COOKIE = "patchgrid_token"
#: Names of this machine.
_OWN_NAMES = ("localhost", "127.0.0.1", "::1")
#: Headers that proxies add, beside X-Forwarded-….
_OF_PROXIES = ("forwarded", "via", "x-real-ip")
_bearer = HTTPBearer(auto_error=False, description="A token, as `patchgrid token create` makes it.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    #: The token's id, or None: no token.
    token_id: int | None
    name: str | None
    #: The allowed scopes, including implied ones.
    scopes: tuple[str, ...]
    #: Whether the server is open: no tokens exist, and it accepts only this machine.
    open: bool = False
    #: Highest priority of a job, or None: any.
    max_priority: int | None = None
    #: Most bytes of the caller's jobs, or None: no limit.
    max_bytes: int | None = None

    @property
    def owner(self) -> str:
        """The owner's name of the caller's jobs."""
        return ownership.Submitter(self.token_id).owner

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return "admin" in self.scopes

    @property
    def key(self) -> str | None:
        """The caller's key for limits; None: no key."""
        return None if self.token_id is None else f"token {self.token_id}"


# Asynchronous where no database is needed: a thread would cost more than the work.
async def service_of(request: Request) -> Service:
    """Return the service shared by this server's requests."""
    service: Service = request.app.state.service
    return service


Shared = Annotated[Service, Depends(service_of)]
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


async def find_caller(request: Request, service: Shared, credentials: _Credentials) -> Caller:
    """Return who sent a request; `Problem` 401 for an unknown token."""
    text = credentials.credentials if credentials is not None else request.cookies.get(COOKIE)
    if text is None:
        service.rate.take(address_of(request))
        return await _without_token(request, service)
    token = service.tokens.recall(text) or await run_in_threadpool(service.tokens.find, text)
    if token is None:
        service.rate.take(address_of(request))
        raise _unknown("this token is unknown, revoked or expired")
    service.rate.take(f"token {token.id}")
    service.note_used(token.id)
    allowed = tuple(scope for scope in SCOPES if token.allows(scope))
    priority = token.max_priority
    if priority is None and "admin" not in allowed:
        priority = service.settings.max_priority
    return Caller(token.id, token.name, allowed, max_priority=priority, max_bytes=token.max_bytes)


def address_of(request: Request) -> str:
    """Name the address that a request without a token comes from."""
    return f"address {request.client.host}" if request.client is not None else "nowhere"


def needs(scope: str) -> Callable[..., Awaitable[Caller]]:
    """Return the dependency that requires a scope and checks the query's parameter names."""

    async def check(request: Request, caller: Annotated[Caller, Depends(find_caller)]) -> Caller:
        if scope in caller.scopes:
            request.app.state.queries.check(request)
            return caller
        if caller.token_id is None:
            raise _unknown("a token is required: send it as `Authorization: Bearer TOKEN`")
        raise Problem(403, "scope-missing", f"the token {caller.name!r} lacks the scope {scope!r}")

    check.__name__ = f"needs_{scope}"
    return check


def still_known(service: Service, caller: Caller) -> bool:
    """Return whether a caller is still authenticated: a stream lasts as long as a job."""
    with service.database.read() as session:
        if caller.token_id is None:
            return not tokens.any_made(session)
        return tokens.is_valid(session, caller.token_id)


def check_own(session: Session, caller: Caller, job: JobRecord) -> None:
    """Refuse to let anyone but owners and admins control a job."""
    if caller.is_admin or ownership.may_steer(session, job.id, caller.owner):
        return
    raise Problem(
        403,
        "not-yours",
        f"job {job.id} is not yours: submit the same pairs and settings to become an owner, or use a "
        "token with the scope 'admin'",
    )


async def _without_token(request: Request, service: Service) -> Caller:
    no_tokens = False
    if service.settings.may_be_open and not service.tokens.any_recalled:
        no_tokens = not await run_in_threadpool(service.tokens.any_made)
    is_open = no_tokens and _is_local(request)
    if no_tokens and not is_open:
        raise _unknown("without tokens this server accepts requests to localhost only: create a token")
    return Caller(None, None, SCOPES if is_open else (), is_open)


def _is_local(request: Request) -> bool:
    """Return whether a request is for this machine by its own name.

    Another name means DNS rebinding by another site, or a proxy that forwards requests from other machines.
    """
    # nginx by default sends this machine's name and no proxy header, but uses HTTP/1.0, unlike other clients.
    passed_on = request.scope["http_version"] == "1.0" or any(
        name in _OF_PROXIES or name.startswith("x-forwarded-") for name in request.headers
    )
    try:
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return False
    return name in _OWN_NAMES and not passed_on


def _unknown(detail: str) -> Problem:
    return Problem(401, "token-required", detail, headers={"WWW-Authenticate": 'Bearer realm="patchgrid"'})


Reader = Annotated[Caller, Depends(needs("read"))]
Submitter = Annotated[Caller, Depends(needs("submit"))]
