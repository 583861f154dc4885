"""A streamed response that holds a resource and releases it however it ends."""

import asyncio
import logging
import time
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

from patchgrid.core.errors import PatchgridError

_log = logging.getLogger(__name__)

#: Seconds in which a client must read one piece, and the bytes of a piece: a slow link is not a stall.
_PATIENCE, _PIECE = 60.0, 1 << 16
#: Seconds before a client's rate counts.
_WAITED = 30.0


class _StalledError(Exception):
    """The client stopped reading, or reads too slowly; with the reason."""


class ReleasingStream(StreamingResponse):
    """A stream; `release` is called at its end, on disconnect, and if it never starts.

    A client is disconnected if it reads fewer than `least` bytes per second of the time spent waiting for it,
    or nothing for `patience` seconds.
    """

    def __init__(
        self,
        content: Iterable[bytes] | AsyncIterable[str],
        release: Callable[[], None],
        *,
        patience: float = _PATIENCE,
        least: float = 0.0,
        waited: float = _WAITED,
        **options: Any,
    ) -> None:
        super().__init__(content, **options)
        self._release, self._patience, self._pace = release, patience, _Pace(least, waited)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""

        async def send_soon(message: Message) -> None:
            for piece in _pieces(message):
                try:
                    async with asyncio.timeout(self._patience):
                        with self._pace.taking(len(piece.get("body", b""))):
                            await send(piece)
                except TimeoutError:
                    reason = f"the client read nothing for {self._patience:g} s"
                    raise _StalledError(reason) from None

        try:
            await super().__call__(scope, receive, send_soon)
        except (_StalledError, PatchgridError) as error:
            # Without its end, the client knows that the response is incomplete.
            _log.warning("%r: disconnected: %s", scope["path"], error)
        finally:
            await run_in_threadpool(self._release)


class _Pace:
    """A client's read rate; time in which nothing is sent does not count."""

    def __init__(self, least: float, waited: float) -> None:
        self._least, self._most_waited = least, waited
        self._bytes, self._seconds = 0, 0.0

    @contextmanager
    def taking(self, size: int) -> Iterator[None]:
        """Count the bytes sent in the `with` body, and its seconds."""
        began = time.monotonic()
        yield
        self._bytes += size
        self._seconds += time.monotonic() - began
        if self._seconds > self._most_waited and self._bytes < self._least * self._seconds:
            rate = self._bytes / self._seconds
            reason = f"the client read {rate:,.0f} bytes per second, below the minimum {self._least:,.0f}"
            raise _StalledError(f"{reason} (--min-export-rate)")


def _pieces(message: Message) -> Iterator[Message]:
    """Cut a part of the body into pieces."""
    body: bytes = message.get("body", b"")
    if len(body) <= _PIECE:
        yield message
        return
    for end in range(_PIECE, len(body) + _PIECE, _PIECE):
        more = message.get("more_body", False) or end < len(body)
        yield {**message, "body": body[end - _PIECE : end], "more_body": more}
