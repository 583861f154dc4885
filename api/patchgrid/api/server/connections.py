"""Limits for client connections: bytes and seconds before a request is parsed."""

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from patchgrid.api.web.headers import HEADERS
from patchgrid.api.web.problems import MEDIA_TYPE, Problem

#: Most bytes of headers, a trailer or a chunk's line: the parser has no limit.
MOST_HEAD = 64 * 1024
#: Timeout of request headers, in seconds.
HEAD_SECONDS = 30.0
#: Seconds in which a client must read something of the response: the system buffers megabytes of it, and
#: asks for more only when a large part was read.
TAKE_SECONDS = 300.0
_KINDS = {400: "bad-request", 408: "request-timeout", 431: "headers-too-long"}


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with limits and timeouts for everything except bodies."""

    #: Whether headers are expected, bytes since the last event, and the timeout's timer.
    _awaited, _silent = True, 0
    _alarm: asyncio.TimerHandle | None = None
    #: The timer that disconnects a client that reads nothing.
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout of the first request."""
        super().connection_made(transport)
        # Track all unsent data: a connection closes only after all of it was read.
        transport.set_write_buffer_limits(0)
        self._set_alarm()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._unset_alarm()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive bytes; refuse too many outside a body."""
        if self._awaited and self._alarm is None:
            self._set_alarm()
        self._silent += len(data)
        super().data_received(data)
        if self._silent > MOST_HEAD and not self.transport.is_closing():
            self._refuse(431, f"the request headers exceed {MOST_HEAD:,} bytes")

    def on_headers_complete(self) -> None:
        """A request's headers are complete."""
        self._silent, self._awaited = 0, False
        self._unset_alarm()
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header; a trailer is ignored."""
        if self._awaited:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Receive a part of a body."""
        self._silent = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        self._silent, self._awaited = 0, True
        self._unset_alarm()
        super().on_message_complete()
        if self.cycle.response_complete:
            # It was answered before its end, and later data stopped uvicorn's own timer.
            self._set_alarm()

    def on_response_complete(self) -> None:
        """A response is complete; the rest of the request's body is not read, so it must time out."""
        super().on_response_complete()
        if not self._awaited and self.cycle.response_complete and not self.transport.is_closing():
            self._set_alarm()

    def pause_writing(self) -> None:
        """Data waits to be sent."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """All data was sent."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _watch(self, waiting: int) -> None:
        """Release a client that has taken nothing of that many bytes once the time is up."""

        def look() -> None:
            left = self.transport.get_write_buffer_size()
            if left < waiting:
                self._watch(left)
            else:
                self.transport.abort()

        self._stalled = self.loop.call_later(TAKE_SECONDS, look)

    def send_400_response(self, msg: str) -> None:
        """Answer data that is not HTTP."""
        self._refuse(400, msg)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: a client that asks for another protocol is answered in this one."""

    def _refuse(self, status: int, detail: str) -> None:
        """Answer with a problem, with the usual headers, and close the connection."""
        body = json.dumps(Problem(status, _KINDS[status], detail).document("")).encode()
        headers = HEADERS | {"Cache-Control": "no-store", "Content-Type": MEDIA_TYPE}
        headers |= {"Content-Length": str(len(body)), "Connection": "close"}
        lines = [f"HTTP/1.1 {status} ", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self.transport.write("\r\n".join(lines).encode() + body)
        self.transport.close()

    def _set_alarm(self) -> None:
        self._unset_alarm()
        self._alarm = self.loop.call_later(HEAD_SECONDS, self._ring)

    def _unset_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self) -> None:
        self._alarm = None
        if self.transport.is_closing():
            return
        if self._silent and self._awaited:
            self._refuse(408, f"timed out reading the request headers ({HEAD_SECONDS:g} s)")
        else:
            self.transport.close()
