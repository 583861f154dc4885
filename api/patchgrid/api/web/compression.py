"""Compression of responses for clients that accept it.

No response contains a secret beside attacker-chosen text, so its size reveals nothing (BREACH); the response
of `/session`, the one request that contains a token, is too short to be compressed.
"""

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Smallest response to compress, in bytes, and zlib's level: higher levels save a few per cent in twice the
#: time.
SMALLEST, _LEVEL = 1000, 4
#: Already compressed types, and event streams, which must not be buffered.
_AS_THEY_ARE = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/vnd.apache.parquet")


class Compression:
    """Compresses responses with gzip; their entity tags become weak, because the bytes differ."""

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
