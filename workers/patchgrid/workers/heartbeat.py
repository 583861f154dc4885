"""A thread that extends a lease while its chunk is computed."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from patchgrid.storage import leases
from patchgrid.storage.database import Database
from patchgrid.storage.leases import Lease
from patchgrid.workers.waiting import AWAY

_log = logging.getLogger(__name__)

#: Beats in the time that a lease lasts.
_BEATS = 5
#: Seconds between two beats at most: a job that is cancelled is noticed by the next.
_MOST = 5.0
#: Seconds that the last beat may take to end.
_LAST = 10.0


class Heartbeat:
    """Extends the lease at hand, whichever it is, until the `with` block ends."""

    def __init__(self, database: Database, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="patchgrid-heartbeat", daemon=True)
        #: The lease at hand, and what is set when it turns out to belong to another worker.
        self._held: tuple[Lease, threading.Event] | None = None
        self._missed = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_LAST)

    @contextmanager
    def hold(self, lease: Lease) -> Iterator[threading.Event]:
        """Extend a lease until the block ends; give an event that is set when it is lost."""
        lost = threading.Event()
        self._held = lease, lost
        try:
            yield lost
        finally:
            self._held = None

    def _run(self) -> None:
        while not self._ended.wait(min(self._seconds / _BEATS, _MOST)):
            # The lease may be given up meanwhile: then it is not extended, and nobody looks at its event.
            held = self._held
            if held is None or held[1].is_set():
                continue
            lease, lost = held
            try:
                with self._database.write() as session:
                    kept = leases.extend(session, lease, self._seconds)
            except AWAY as error:
                if not self._missed:
                    _log.warning("the lease of chunk %s is not extended: %s", lease.chunk_id, error)
                self._missed = True
                continue
            self._missed = False
            if not kept:
                lost.set()
