"""A streamed answer that holds something, and lets go of it however it ends."""

import asyncio
import logging
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

_log = logging.getLogger(__name__)

#: Seconds in which a client takes a piece of what is sent, and the bytes of a piece: a slow link is no stall.
_PATIENCE, _PIECE = 60.0, 1 << 16


class _StalledError(Exception):
    """The client reads no more."""


class HeldStream(StreamingResponse):
    """A stream; `release` is called at its end, when the client is gone, and if it never begins."""

    def __init__(
        self,
        content: Iterable[bytes] | AsyncIterable[str],
        release: Callable[[], None],
        *,
        patience: float = _PATIENCE,
        **options: Any,
    ) -> None:
        super().__init__(content, **options)
        self._release, self._patience = release, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""

        async def send_soon(message: Message) -> None:
            for piece in _pieces(message):
                try:
                    async with asyncio.timeout(self._patience):
                        await send(piece)
                except TimeoutError:
                    raise _StalledError from None

        try:
            await super().__call__(scope, receive, send_soon)
        except _StalledError:
            # Without its end, the answer is no whole one for the client either.
            _log.warning("%r: the client took nothing for %g seconds", scope["path"], self._patience)
        finally:
            await run_in_threadpool(self._release)


def _pieces(message: Message) -> Iterator[Message]:
    """Cut a part of the body into pieces."""
    body: bytes = message.get("body", b"")
    if len(body) <= _PIECE:
        yield message
        return
    for end in range(_PIECE, len(body) + _PIECE, _PIECE):
        more = message.get("more_body", False) or end < len(body)
        yield {**message, "body": body[end - _PIECE : end], "more_body": more}
