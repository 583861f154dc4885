"""Answers compressed for clients that take it.

No answer holds a secret beside something that an attacker chose, so its size tells nothing (BREACH); the one
request that a token is sent in, `/session`, is answered in too few bytes to be compressed.
"""

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Bytes of an answer from which on it is compressed, and zlib's level: beyond that one, a few per cent take
#: twice the time.
SMALLEST, _LEVEL = 1000, 4
#: What is compressed already, and what must not wait for more (event streams).
_AS_THEY_ARE = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/vnd.apache.parquet")


class Compression:
    """Compresses answers by gzip; their entity tags become weak ones, as the bytes are others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = GZipMiddleware(app, SMALLEST, _LEVEL, exclude_content_types=_AS_THEY_ARE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                tag = headers.get("etag", "")
                if "content-encoding" in headers and tag and not tag.startswith("W/"):
                    headers["ETag"] = f"W/{tag}"
            await send(message)

        await self._app(scope, receive, marked)
