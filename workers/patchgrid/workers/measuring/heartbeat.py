"""A thread that extends leases while their chunks are measured and stored."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from patchgrid.storage.db.database import Database
from patchgrid.storage.queue import leases
from patchgrid.storage.queue.leases import Lease
from patchgrid.workers.measuring.db_retry import LOST

_log = logging.getLogger(__name__)

#: Beats per lease duration.
_BEATS = 5
#: Longest time between beats, in seconds: a cancel is noticed by the next one.
_MOST = 5.0
#: Seconds to wait for the last beat.
_LAST = 10.0


class Heartbeat:
    """Extends all current leases until the `with` block ends."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="patchgrid-heartbeat", daemon=True)
        self._changing = threading.Lock()
        #: The current leases, each with the event that is set when it is lost. Replaced, never mutated, so
        #: that it can be read at any time.
        self._active: tuple[tuple[Lease, threading.Event], ...] = ()
        self._missed = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_LAST)

    @contextmanager
    def hold(self, lease: Lease) -> Iterator[threading.Event]:
        """Extend a lease until the block ends, in any thread; yields an event that is set when it is lost."""
        mine = lease, threading.Event()
        with self._changing:
            self._active = (*self._active, mine)
        try:
            yield mine[1]
        finally:
            with self._changing:
                self._active = tuple(active for active in self._active if active is not mine)

    def _run(self) -> None:
        while not self._ended.wait(min(self._seconds / _BEATS, _MOST)):
            # A lease may have been released: then it is not extended, and its event is not used.
            active = [(lease, lost) for lease, lost in self._active if not lost.is_set()]
            if active:
                self._beat(active)

    def _beat(self, active: list[tuple[Lease, threading.Event]]) -> None:
        try:
            with self._database.write() as session:
                extended = [leases.extend(session, lease, self._seconds) for lease, _ in active]
        except LOST as error:
            if not self._missed:
                chunks = " and ".join(str(lease.chunk_id) for lease, _ in active)
                _log.warning("cannot extend the lease of chunk %s: %s", chunks, error)
            self._missed = True
            return
        self._missed = False
        for (_, lost), is_kept in zip(active, extended, strict=True):
            if not is_kept:
                lost.set()
