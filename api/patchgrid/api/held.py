"""A streamed answer that holds something, and lets go of it however it ends."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send


class HeldStream(StreamingResponse):
    """A stream; `release` is called at its end, when the client leaves, and if it never begins."""

    def __init__(
        self, content: Iterable[bytes] | AsyncIterable[str], release: Callable[[], None], **options: Any
    ) -> None:
        super().__init__(content, **options)
        self._release = release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await run_in_threadpool(self._release)
