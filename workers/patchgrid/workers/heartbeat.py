"""A thread that extends a lease while its chunk is computed."""

import logging
import threading
from types import TracebackType
from typing import Self

from patchgrid.storage import leases
from patchgrid.storage.database import Database
from patchgrid.storage.errors import StorageError
from patchgrid.storage.leases import Lease

_log = logging.getLogger(__name__)

#: Beats in the time that a lease lasts.
_BEATS = 5


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
        while not self._done.wait(self._seconds / _BEATS):
            try:
                with self._database.write() as session:
                    held = leases.extend(session, self._lease, self._seconds)
            except StorageError as error:
                _log.warning("lease of chunk %s not extended: %s", self._lease.chunk_id, error)
                continue
            if not held:
                self.lost.set()
                return
