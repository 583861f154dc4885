"""A thread that extends a lease while its chunk is computed."""

import logging
import threading
from types import TracebackType
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


class Heartbeat:
    """Extends a lease until the `with` block ends."""

    def __init__(self, database: Database, lease: Lease, seconds: float) -> None:
        self._database = database
        self._lease = lease
        self._seconds = seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="patchgrid-heartbeat", daemon=True)
        #: Set when the lease turned out to belong to another worker.
        self.lost = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        missed = 0
        while not self._done.wait(min(self._seconds / _BEATS, _MOST)):
            try:
                with self._database.write() as session:
                    held = leases.extend(session, self._lease, self._seconds)
            except AWAY as error:
                missed += 1
                if missed == 1:
                    _log.warning("the lease of chunk %s is not extended: %s", self._lease.chunk_id, error)
                continue
            missed = 0
            if not held:
                self.lost.set()
                return
