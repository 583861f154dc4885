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
    connection: Connection, path: str, *, every: float = 1.0, known: dict[str, Any] | None = None
) -> Generator[dict[str, Any], None, None]:
    """Yield the job's state at each change, and again after `every` seconds without one, until it has ended.

    Before there is word of it, its state is what is `known`. A server that is unavailable is asked again; of
    that `connection.say` hears once. Raises what will not pass: a job that was deleted, a token that was
    revoked.
    """
    reader = _Reader(connection, path)
    reader.start()
    last = known
    try:
        while True:
            try:
                found = reader.found.get(timeout=every)
            except queue.Empty:
                found = last
            if isinstance(found, BaseException):
                raise found
            if found is _END:
                return
            if isinstance(found, dict):
                if found.get("state") == "deleted":
                    raise NotThere(f"job {found.get('job')} was deleted")
                last = found
                yield found
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
        self.found: queue.Queue[Any] = queue.Queue()
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
                    self._connection.say(f"{error}; asking again")
                away = True
            except PatchgridError as error:
                self.found.put(error)
                return
            except Exception as error:  # noqa: BLE001 (passed to the follower)
                self.found.put(error)
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
            self.found.put(_END)
            return True
        if event.name == "job":
            self.found.put(_state(event.data))
        return False


def _state(data: str) -> dict[str, Any] | ServerError:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    return (
        found if isinstance(found, dict) else NotPatchgrid("the server sent a job's state that is not JSON")
    )
