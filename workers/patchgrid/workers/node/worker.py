"""A worker: claims chunks of the models it serves, measures and commits them.

The database says which chunk is next. With a broker, a message is permission to work for a slice of time (see
`slices`); an idle worker also polls by itself. Results are kept until they are committed or the lease is
lost: they are stored in a second thread while this one measures the next chunk.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy.orm import Session

from patchgrid.core.types import Pair
from patchgrid.storage.db.database import Database
from patchgrid.storage.queue import leases, workers
from patchgrid.storage.queue.leases import Lease
from patchgrid.storage.queue.workers import WorkerStatus
from patchgrid.workers.errors import StopRequestedError
from patchgrid.workers.identity import worker_name
from patchgrid.workers.measuring.db_retry import AWAY, Waiting
from patchgrid.workers.measuring.heartbeat import Heartbeat
from patchgrid.workers.measuring.models import Engine, ModelKey, Models
from patchgrid.workers.node.device import Device
from patchgrid.workers.node.handling import Handling
from patchgrid.workers.node.load_backoff import FIRST, LoadBackoff
from patchgrid.workers.node.registry import BEAT, Registry, info
from patchgrid.workers.node.serving import Serving
from patchgrid.workers.node.settings import WorkerSettings
from patchgrid.workers.node.slices import Slices
from patchgrid.workers.node.statistics import WorkerStatistics
from patchgrid.workers.node.watchdog import Watchdog

_log = logging.getLogger(__name__)

#: Seconds before polling again for a chunk that others have locked, at first.
_SHORTEST = 0.05


class Worker:
    """One worker; `run` works until there is a reason to exit.

    Parameters
    ----------
    load
        Loads the engine of a model; None loads it onto the device of the settings.
    name
        Its name in the registry; None: host, process and start time.
    on_point
        Called with the name of each point that a chunk passes: `claimed`, `computing`, and in the storing
        thread `before commit`, `committed`.
    load_retry
        First backoff in seconds of a model that could not be loaded.
    beat
        Seconds between heartbeats.
    """

    def __init__(
        self,
        database: Database,
        settings: WorkerSettings,
        *,
        load: Callable[[ModelKey], Engine] | None = None,
        name: str | None = None,
        on_point: Callable[[str], None] = lambda _name: None,
        load_retry: float = FIRST,
        beat: float = BEAT,
    ) -> None:
        self.name = name or worker_name()
        self._database = database
        self.settings = settings
        self._device = Device("cpu" if load is not None and settings.device == "auto" else settings.device)
        if load is None:
            self._device.resolve()
        self._statistics = WorkerStatistics()
        self._heartbeat = Heartbeat(database, settings.lease_seconds)
        self.slices = Slices(settings.slice, self._statistics.counts)
        self._watchdog = Watchdog(settings.watchdog, on_hang=lambda message: self._registry.say(message))
        self._registry = Registry(database, self._status, self.drain, seconds=beat)
        self._waiting = Waiting(database, over=self._is_over, on_wait=self._wait_for_database)
        # Without a current chunk, stop at once when asked to.
        self._looking = Waiting(
            database, over=lambda: self._stop_at is not None, on_wait=self._wait_for_database
        )
        self._load_backoff = LoadBackoff(load_retry)
        self._serving = Serving(
            self._waiting,
            Models(load or self._device.load, self._device, self._limit),
            self._load_backoff,
            self._watchdog,
            self.name,
        )
        self._handling = Handling(
            self._heartbeat,
            self._waiting,
            Waiting(database, over=self._is_over, on_wait=self._wait_to_store),
            self._serving,
            settings,
            self._statistics,
            self._on_share,
            on_point,
        )
        self._storing = self._handling.storing
        #: When to hand the chunk back (monotonic clock); None: not asked to stop.
        self._stop_at: float | None = None
        self._drained = False
        #: The result of a claim is unknown: it may have been committed.
        self._unsure = False
        #: Chunks that failed while measuring; `_storing` counts the others.
        self._failed = 0
        self._idle_since = time.monotonic()
        self._pause = _SHORTEST

    def run(self) -> str:
        """Work until told to exit; return why: `stopped`, `drained`, `max chunks` or `idle`.

        Raises
        ------
        DeviceBrokenError
            The device failed.
        """
        self._watchdog.start()
        try:
            mine = info(self.name, self._device.label, self.settings.models)
            self._registry.start(self._looking.write(lambda session: workers.register(session, mine)))
            _log.info("worker %s started on %s, serving %s", mine.name, mine.device, ", ".join(mine.models))
            self._statistics.started = True
            with self._heartbeat, self._storing:
                return self._loop()
        except AWAY:
            if self._stop_at is None:
                raise
            return "stopped"
        finally:
            self._statistics.ending = True
            self._watchdog.stop()
            self._registry.stop()
            self.slices.close()

    def stop(self) -> None:
        """Stop after this chunk, or hand it back after the grace period; for signal handlers."""
        if self._stop_at is None:
            self._end_by(time.monotonic() + self.settings.grace)

    def stop_now(self) -> None:
        """Stop after the current batch and hand the chunk back; for signal handlers."""
        self._end_by(time.monotonic())

    def _end_by(self, when: float) -> None:
        self._stop_at = when
        self._statistics.ending = True
        self.slices.wake()

    def drain(self) -> None:
        """Exit after the current chunk."""
        self._drained = self._statistics.ending = True
        self.slices.wake()

    def _is_over(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def _limit(self) -> int:
        limit = self.settings.memory_limit
        return self._device.limit() if limit is None else limit

    def _status(self) -> WorkerStatus:
        return self._statistics.status(self._serving.models.loaded, self._device.used(), self._device.total())

    def _wait_for_database(self, trouble: str | None) -> None:
        self._statistics.trouble = trouble
        self._watchdog.progress()
        self._idle_since = time.monotonic()
        self._registry.beat_soon()

    def _wait_to_store(self, trouble: str | None) -> None:
        self._statistics.trouble = trouble
        # This must not hide a batch that hangs.
        if self._storing.awaited:
            self._watchdog.progress()
        self._idle_since = time.monotonic()
        self._registry.beat_soon()

    def _loop(self) -> str:
        self._idle_since = time.monotonic()
        idle = False
        while True:
            self._watchdog.progress()
            # With that stored, this worker never holds more than two chunks.
            self._storing.settle()
            if self.slices.is_over:
                self._end_slice()
            self.slices.take()
            reason = self._reason_to_end()
            claimed = self._claim(idle=idle) if reason is None else None
            idle = claimed is None
            if claimed is not None:
                self.slices.begin_own()
                self._failed += self._handling.work(*claimed)
            elif not self._storing.finish():
                if reason is None:
                    continue
                _log.info("worker %s exits: %s", self.name, reason)
                return reason
            self._idle_since = time.monotonic()
            self._pause = _SHORTEST

    def _end_slice(self) -> None:
        """End a slice whose time is up; if it leaves work, wait for a message that permits another one."""
        self._storing.finish()
        model, available = self.slices.model, self._load_backoff.available(self.settings.models)
        left = self._model_left(available if model is None else [model])
        self.slices.end(left=left is not None)
        if left is None:
            return
        if model is None:
            if self.slices.on_left is not None:
                self.slices.on_left(left)
        elif model in available:
            self._wait_for_message()

    def _wait_for_message(self) -> None:
        self.slices.wait(0)  # whatever was said before is seen below
        if not self.slices.is_pending and self._reason_to_end() is None:
            self._wait(self.settings.poll)
            self._idle_since = time.monotonic()  # there is work

    def _model_left(self, models: Sequence[str]) -> str | None:
        """Return the first of these models with a chunk that can be claimed now."""
        for model in models:
            if self._looking.read(partial(leases.next_claim_in, models=[model])) == 0:
                return model
        return None

    def _reason_to_end(self) -> str | None:
        settings = self.settings
        if self._stop_at is not None:
            return "stopped"
        if self._drained:
            return "drained"
        worked = self._failed + self._storing.worked + self._storing.pending
        if settings.max_chunks is not None and worked >= settings.max_chunks:
            return "max chunks"
        if settings.idle_exit is not None and time.monotonic() - self._idle_since >= settings.idle_exit:
            return "idle"
        return None

    def _claim(self, *, idle: bool) -> tuple[Lease, list[Pair]] | None:
        """Claim a chunk, with its pairs; if there is none, wait until it is time to poll again.

        A measured chunk does not wait: then None is returned at once.
        """
        models = self._load_backoff.available(self.settings.models)
        due: float | None = 0.0
        if models:
            # Reading first keeps idle workers from locking the database.
            if idle:
                due = self._looking.read(lambda session: leases.next_claim_in(session, models=models))
            if due == 0:
                is_kept, claimed = self._looking.write(lambda session: self._take(session, models))
                self._unsure = False
                if not is_kept:
                    self._handling.drop()
                if claimed is not None:
                    return claimed
        if not self._storing.pending:
            self._rest(due if models else None)
        return None

    def _take(self, session: Session, models: list[str]) -> tuple[bool, tuple[Lease, list[Pair]] | None]:
        """Claim a chunk, having handed back what an earlier claim may have got."""
        if self._unsure:
            leases.release_own(session, self.name, keep=self._storing.ready)
        self._unsure = True
        loaded = self._serving.models.loaded
        return self._storing.claim(
            session, self.name, self.settings.lease_seconds, models=models, loaded=loaded
        )

    def _rest(self, due: float | None) -> None:
        """Wait for a message, or until a chunk is due, a model is to be retried, or it is time to poll."""
        # Another worker may load a model that this one cannot: its slice is handed on when its time is up.
        asked = [] if self.slices.model is None else [self.slices.model]
        if due != 0 and self._load_backoff.available(asked) == asked:
            self.slices.end(left=False)
            if self.slices.is_pending:
                return
        seconds = self.settings.poll
        if due == 0:
            # A chunk is available but locked by others; or the due time has not been read yet.
            seconds = min(seconds, self._pause)
            self._pause *= 2
        elif due is not None:
            seconds = min(seconds, due)
        back = self._load_backoff.next_in()
        seconds = seconds if back is None else min(seconds, back)
        if self.settings.idle_exit is not None:
            seconds = min(seconds, self._idle_since + self.settings.idle_exit - time.monotonic())
        if self._wait(seconds):
            self._pause = _SHORTEST

    def _wait(self, seconds: float) -> bool:
        """Wait for a message or a reason to end; return whether something came."""
        with self._watchdog.waiting():
            return self.slices.wait(seconds)

    def _on_share(self, share: float) -> None:
        self._statistics.share(share)
        self._watchdog.progress()
        if share < 1 and self._is_over():
            raise StopRequestedError
