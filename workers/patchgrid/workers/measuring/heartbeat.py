"""A thread that extends leases while their chunks are computed and stored."""

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

#: Beats in the time that a lease lasts.
_BEATS = 5
#: Seconds between two beats at most: a job that is cancelled is noticed by the next.
_MOST = 5.0
#: Seconds that the last beat may take to end.
_LAST = 10.0


class Heartbeat:
    """Extends the leases at hand, whichever they are, until the `with` block ends."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="patchgrid-heartbeat", daemon=True)
        self._changing = threading.Lock()
        #: The leases at hand, each with what is set when it turns out to belong to another worker. Never
        #: changed but replaced, so that it can be read at any time.
        self._held: tuple[tuple[Lease, threading.Event], ...] = ()
        self._missed = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_LAST)

    @contextmanager
    def hold(self, lease: Lease) -> Iterator[threading.Event]:
        """Extend a lease until the block ends, in any thread; give an event that is set when it is lost."""
        mine = lease, threading.Event()
        with self._changing:
            self._held = (*self._held, mine)
        try:
            yield mine[1]
        finally:
            with self._changing:
                self._held = tuple(held for held in self._held if held is not mine)

    def _run(self) -> None:
        while not self._ended.wait(min(self._seconds / _BEATS, _MOST)):
            # Leases may be given up meanwhile: then they are not extended, and nobody looks at their events.
            held = [(lease, lost) for lease, lost in self._held if not lost.is_set()]
            if held:
                self._beat(held)

    def _beat(self, held: list[tuple[Lease, threading.Event]]) -> None:
        try:
            with self._database.write() as session:
                kept = [leases.extend(session, lease, self._seconds) for lease, _ in held]
        except LOST as error:
            if not self._missed:
                chunks = " and ".join(str(lease.chunk_id) for lease, _ in held)
                _log.warning("the lease of chunk %s is not extended: %s", chunks, error)
            self._missed = True
            return
        self._missed = False
        for (_, lost), is_kept in zip(held, kept, strict=True):
            if not is_kept:
                lost.set()
