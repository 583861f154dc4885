"""Security headers, and protection against cross-site requests."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from patchgrid.api.web.problems import Problem

#: Scripts, styles and data from this server only; nothing inline; no framing.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Headers of every response.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Content-Security-Policy": PAGE_POLICY,
}
_SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Refuses cross-site requests, and adds the security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        problem = _refusal(scope)
        if problem is not None:
            await problem.response(Request(scope))(scope, receive, marked)
            return
        await self._app(scope, receive, marked)


def _refusal(scope: Scope) -> Problem | None:
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if scope["method"] not in _SAFE:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        # Sec-Fetch-Site is trusted over Host, which a proxy may have changed.
        foreign = site is None and origin is not None and _host_of(origin) != host
        if foreign or site not in (None, "same-origin", "none"):
            return Problem(403, "cross-site", "requests from another site are not allowed")
    return None


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
