"""A worker of the cluster: takes chunks of the models it serves, measures them and hands them in.

The database says what there is to do. A bell only tells a worker that waits to look now. What is computed is
kept until the database has taken it, or has given the chunk to another worker: each is stored in a thread
beside this one, which measures the next.
"""

import logging
import time
from collections.abc import Callable

from sqlalchemy.orm import Session

from patchgrid.core.types import Pair
from patchgrid.storage.db.database import Database
from patchgrid.storage.queue import leases, workers
from patchgrid.storage.queue.leases import Lease
from patchgrid.storage.queue.workers import WorkerStatus
from patchgrid.workers.broker.bell import Bell
from patchgrid.workers.errors import StopRequestedError
from patchgrid.workers.identity import worker_name
from patchgrid.workers.measuring.db_retry import AWAY, Waiting
from patchgrid.workers.measuring.heartbeat import Heartbeat
from patchgrid.workers.measuring.models import Engine, ModelKey, Models
from patchgrid.workers.node.device import Device
from patchgrid.workers.node.handling import Handling
from patchgrid.workers.node.load_backoff import FIRST, LeftOut
from patchgrid.workers.node.registry import BEAT, Registry, info
from patchgrid.workers.node.serving import Serving
from patchgrid.workers.node.settings import WorkerSettings
from patchgrid.workers.node.statistics import Tally
from patchgrid.workers.node.watchdog import Watchdog

_log = logging.getLogger(__name__)

#: Seconds before a chunk that others have locked is looked for again, at first.
_SHORTEST = 0.05


class Worker:
    """One worker; `run` works until there is a reason to end.

    Parameters
    ----------
    load
        Gives the engine of a model; None loads it onto the device of the settings.
    name
        What it is called in the registry; None: host, process and the time it began.
    on_point
        Called with the name of each point that a chunk passes: `claimed`, `computing`, and in the thread that
        stores `before commit`, `committed`.
    load_retry
        Seconds for which a model that could not be loaded is left to others, at first.
    beat
        Seconds between two updates of the worker's row in the registry.
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
        self._settings = settings
        self._device = Device("cpu" if load is not None and settings.device == "auto" else settings.device)
        if load is None:
            self._device.resolve()
        self._tally = Tally()
        self._heartbeat = Heartbeat(database, settings.lease_seconds)
        self._bell = Bell(settings.broker, remote_control=settings.remote_control)
        self._watchdog = Watchdog(settings.watchdog, on_hang=lambda message: self._registry.say(message))
        self._registry = Registry(database, self._status, self._drain, seconds=beat)
        self._waiting = Waiting(database, over=self._is_over, on_wait=self._wait_for_database)
        # Without a chunk at hand there is nothing to be patient for once someone asks to stop.
        self._looking = Waiting(
            database, over=lambda: self._stop_at is not None, on_wait=self._wait_for_database
        )
        self._left_out = LeftOut(load_retry)
        self._serving = Serving(
            self._waiting,
            Models(load or self._device.load, self._device, self._limit),
            self._left_out,
            self._watchdog,
            self.name,
        )
        self._handling = Handling(
            self._heartbeat,
            self._waiting,
            Waiting(database, over=self._is_over, on_wait=self._wait_to_store),
            self._serving,
            settings,
            self._tally,
            self._on_share,
            on_point,
        )
        self._storing = self._handling.storing
        #: When to hand the chunk back, by the monotonic clock; None: nobody asked to stop.
        self._stop_at: float | None = None
        self._drained = False
        #: A claim was begun whose end was not heard of: it may have landed.
        self._unsure = False
        #: Chunks whose attempt failed in measuring; `_storing` counts the others.
        self._failed = 0
        self._idle_since = time.monotonic()
        self._pause = _SHORTEST

    def run(self) -> str:
        """Work until told to end; say why: `stopped`, `drained`, `max chunks` or `idle`.

        Raises
        ------
        DeviceBrokenError
            The device is lost to this process.
        BrokerURLError
            The broker's URL cannot be used.
        """
        self._bell.start()
        self._watchdog.start()
        try:
            mine = info(self.name, self._device.label, self._settings.models)
            self._registry.start(self._looking.write(lambda session: workers.register(session, mine)))
            _log.info("worker %s started on %s, serving %s", mine.name, mine.device, ", ".join(mine.models))
            self._tally.started = True
            with self._heartbeat, self._storing:
                return self._loop()
        except AWAY:
            if self._stop_at is None:
                raise
            return "stopped"
        finally:
            self._tally.ending = True
            self._watchdog.stop()
            self._bell.stop()
            self._registry.stop()

    def stop(self) -> None:
        """End after this chunk, or hand it back if that takes longer than the grace; for signal handlers."""
        if self._stop_at is None:
            self._end_by(time.monotonic() + self._settings.grace)

    def stop_now(self) -> None:
        """End after the running batch and hand the chunk back; for signal handlers."""
        self._end_by(time.monotonic())

    def _end_by(self, when: float) -> None:
        self._stop_at = when
        self._tally.ending = True
        self._bell.ring_locally()

    def _drain(self) -> None:
        self._drained = self._tally.ending = True
        self._bell.ring_locally()

    def _is_over(self) -> bool:
        return self._stop_at is not None and time.monotonic() >= self._stop_at

    def _limit(self) -> int:
        limit = self._settings.memory_limit
        return self._device.limit() if limit is None else limit

    def _status(self) -> WorkerStatus:
        return self._tally.status(self._serving.models.loaded, self._device.used(), self._device.total())

    def _wait_for_database(self, trouble: str | None) -> None:
        self._tally.trouble = trouble
        self._watchdog.progress()
        self._idle_since = time.monotonic()
        self._registry.beat_soon()

    def _wait_to_store(self, trouble: str | None) -> None:
        self._tally.trouble = trouble
        # A batch that hangs meanwhile is none the better for it.
        if self._storing.awaited:
            self._watchdog.progress()
        self._idle_since = time.monotonic()
        self._registry.beat_soon()

    def _loop(self) -> str:
        self._idle_since = time.monotonic()
        idle = False
        while True:
            self._watchdog.progress()
            # With that stored, there are never more than two chunks of this worker's under way.
            self._storing.settle()
            reason = self._reason_to_end()
            claimed = self._claim(idle=idle) if reason is None else None
            idle = claimed is None
            if claimed is not None:
                self._failed += self._handling.work(*claimed)
            elif not self._storing.finish():
                if reason is None:
                    continue
                _log.info("worker %s ends: %s", self.name, reason)
                return reason
            self._idle_since = time.monotonic()
            self._pause = _SHORTEST

    def _reason_to_end(self) -> str | None:
        settings = self._settings
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
        """Take a chunk, with its pairs; where there is none, wait until it is time to look again.

        A chunk that is measured does not wait with it: None is given at once.
        """
        models = self._left_out.available(self._settings.models)
        due: float | None = 0.0
        if models:
            # Reading first keeps workers that have nothing to do from locking the database.
            if idle:
                due = self._looking.read(lambda session: leases.next_claim_in(session, models=models))
            if due == 0:
                kept, claimed = self._looking.write(lambda session: self._take(session, models))
                self._unsure = False
                if not kept:
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
            session, self.name, self._settings.lease_seconds, models=models, loaded=loaded
        )

    def _rest(self, due: float | None) -> None:
        """Wait for a bell, or until a chunk is due, a model is to be tried again, or it is time to poll."""
        seconds = self._settings.poll
        if due == 0:
            # Something is to be had, but others are at it; or (at first) nobody has looked when it is.
            seconds = min(seconds, self._pause)
            self._pause *= 2
        elif due is not None:
            seconds = min(seconds, due)
        back = self._left_out.next_in()
        seconds = seconds if back is None else min(seconds, back)
        if self._settings.idle_exit is not None:
            seconds = min(seconds, self._idle_since + self._settings.idle_exit - time.monotonic())
        if self._bell.wait(seconds):
            self._pause = _SHORTEST

    def _on_share(self, share: float) -> None:
        self._tally.share(share)
        self._watchdog.progress()
        if share < 1 and self._is_over():
            raise StopRequestedError
