"""Following a job through the server's events, reconnecting after a disconnect."""

import json
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from patchgrid.api.client.http.errors import (
    ConnectionCut,
    NotPatchgrid,
    NotThere,
    ServerBusy,
    ServerError,
    ServerFailed,
    ServerUnreachable,
)
from patchgrid.api.client.http.http import Connection
from patchgrid.core.errors import PatchgridError

#: Seconds without even a comment after which the stream is considered dead.
SILENCE = 60.0
#: Seconds before reconnecting: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
#: Errors after which following is retried.
_PASSING = (ConnectionCut, ServerUnreachable, ServerBusy, ServerFailed)


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    name: str
    data: str
    id: str | None


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """Parse server-sent events, per the HTML standard; comments are skipped."""
    name, data, last = "message", list[str](), None
    for line in lines:
        if not line:
            if data or name != "message":
                yield Event(name, "\n".join(data), last)
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            last = value


def follow(
    connection: Connection, path: str, *, every: float = 1.0, latest: dict[str, Any] | None = None
) -> Generator[dict[str, Any], None, None]:
    """Yield the job's state at each change, and again after `every` seconds without one, until it has ended.

    Until the first event, its state is `latest`. An unavailable server is retried; `connection.say` is told
    once. Raises permanent errors: a deleted job, a revoked token.
    """
    reader = _Reader(connection, path)
    reader.start()
    last = latest
    try:
        while True:
            try:
                item = reader.items.get(timeout=every)
            except queue.Empty:
                item = last
            if isinstance(item, BaseException):
                raise item
            if item is _END:
                return
            if isinstance(item, dict):
                if item.get("state") == "deleted":
                    raise NotThere(f"job {item.get('job')} was deleted")
                last = item
                yield item
    finally:
        reader.ended.set()


#: Marks the end of the states.
_END = object()


class _Reader(threading.Thread):
    """Reads the stream in a thread, so that the caller can wait with a timeout."""

    def __init__(self, connection: Connection, path: str) -> None:
        super().__init__(name="patchgrid-events", daemon=True)
        self._connection, self._path = connection, path
        self._last: str | None = None
        #: States, `_END` or an error.
        self.items: queue.Queue[Any] = queue.Queue()
        #: Set when the follower has stopped.
        self.ended = threading.Event()

    def run(self) -> None:
        """Read until the end, or until the follower has stopped."""
        pause, away = FIRST_PAUSE, False
        while not self.ended.is_set():
            try:
                for event in self._events():
                    pause, away = FIRST_PAUSE, False
                    if self.ended.is_set() or self._hand_on(event):
                        return
            except _PASSING as error:
                if not away and not self.ended.is_set():
                    self._connection.say(f"{error}; retrying")
                away = True
            except PatchgridError as error:
                self.items.put(error)
                return
            except Exception as error:  # noqa: BLE001 (passed to the follower)
                self.items.put(error)
                return
            self.ended.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _events(self) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream"}
        if self._last is not None:
            headers["Last-Event-ID"] = self._last
        with self._connection.stream(self._path, headers=headers, silence=SILENCE, again=False) as answer:
            yield from parse(answer.iter_lines())

    def _hand_on(self, event: Event) -> bool:
        """Pass a state on; return whether it was the last."""
        self._last = event.id or self._last
        if event.name == "end":
            self.items.put(_END)
            return True
        if event.name == "job":
            self.items.put(_state(event.data))
        return False


def _state(data: str) -> dict[str, Any] | ServerError:
    try:
        state = json.loads(data)
    except ValueError:
        state = None
    return (
        state if isinstance(state, dict) else NotPatchgrid("the server sent a job's state that is not JSON")
    )
