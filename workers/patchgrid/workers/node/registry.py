"""A worker's row in the registry: registered, updated by heartbeats, and closed."""

import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import replace

from patchgrid.storage.db.database import Database
from patchgrid.storage.queue import workers
from patchgrid.storage.queue.workers import WorkerInfo, WorkerStatus
from patchgrid.workers.measuring.db_retry import LOST

_log = logging.getLogger(__name__)

#: Seconds between heartbeats.
BEAT = 5.0
#: Seconds to wait for the last one.
_LAST = 10.0


class Registry:
    """Keeps one worker's row up to date, in its own thread."""

    def __init__(
        self,
        database: Database,
        status: Callable[[], WorkerStatus],
        on_drain: Callable[[], None],
        *,
        seconds: float = BEAT,
    ) -> None:
        self._database = database
        self._status = status
        self._on_drain = on_drain
        self._seconds = seconds
        self._worker_id: int | None = None
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="patchgrid-registry", daemon=True)

    def start(self, worker_id: int) -> None:
        """Start the heartbeats of a registered worker."""
        self._worker_id = worker_id
        self._thread.start()

    def beat_soon(self) -> None:
        """Update the row now: something changed that operators want to see."""
        self._wake.set()

    def stop(self) -> None:
        """Deregister, if the database is available."""
        self._stopped.set()
        self._wake.set()
        if self._thread.ident is None or self._worker_id is None:
            return
        self._thread.join(_LAST)
        try:
            with self._database.write() as session:
                workers.stop(session, self._worker_id, self._status())
        except LOST as error:
            _log.warning("cannot deregister this worker: %s", error)

    def say(self, message: str) -> None:
        """Write a last message into the row."""
        if self._worker_id is not None:
            with self._database.write() as session:
                workers.beat(session, self._worker_id, replace(self._status(), message=message))

    def _run(self) -> None:
        missed = 0
        while not self._stopped.is_set():
            self._wake.clear()
            try:
                self._beat()
            except LOST as error:
                missed += 1
                if missed == 1:
                    _log.warning("cannot send a heartbeat: %s", error)
            else:
                missed = 0
            self._wake.wait(self._seconds)

    def _beat(self) -> None:
        assert self._worker_id is not None
        status = self._status()
        with self._database.write() as session:
            drain = workers.beat(session, self._worker_id, status)
        if drain:
            self._on_drain()


def info(name: str, device: str, models: tuple[str, ...]) -> WorkerInfo:
    """Describe a worker of this process."""
    return WorkerInfo(name=name, host=socket.gethostname(), pid=os.getpid(), device=device, models=models)
