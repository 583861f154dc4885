"""Working one job off in this process: claim, measure and store chunks until none is left."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from patchgrid.core.states import JobState
from patchgrid.core.types import Pair
from patchgrid.storage.chunks import provenance
from patchgrid.storage.db.database import Database
from patchgrid.storage.errors import DatabaseGone
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.queue import control, leases
from patchgrid.storage.queue.leases import Lease
from patchgrid.workers.errors import (
    JobCancelledError,
    LeaseLostError,
    ModelChangedError,
    StopRequestedError,
)
from patchgrid.workers.identity import may_be_alive, worker_name
from patchgrid.workers.measuring.attempt import Attempt, Computed
from patchgrid.workers.measuring.db_retry import LOST, Waiting
from patchgrid.workers.measuring.heartbeat import Heartbeat
from patchgrid.workers.measuring.job_means import JobMeans
from patchgrid.workers.measuring.models import Engine
from patchgrid.workers.measuring.pilot import Pilots
from patchgrid.workers.measuring.storing import Storing
from patchgrid.workers.progress import Progressing, RunProgress

_log = logging.getLogger(__name__)

#: Longest wait, in seconds, before polling again for a chunk that another process holds.
_LONGEST_WAIT = 2.0
#: Seconds for which a database that is unavailable is waited for: someone sits in front of this.
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended."""

    #: It was asked to stop before the job was done.
    stopped: bool


def run_job(
    database: Database,
    engine: Engine,
    job: JobRecord,
    *,
    batch_tokens: int | None = None,
    stop: threading.Event | None = None,
    on_progress: Callable[[RunProgress], None] = lambda _progress: None,
    lease_seconds: float = 60,
) -> RunEnd:
    """Work a job off in this process; a paused one continues.

    A chunk that another living process holds is waited for; one whose process on this host is dead is taken
    over at once, so the same command continues after a crash.

    Parameters
    ----------
    stop
        Set it to stop after the running batch; the chunk is handed back.

    Raises
    ------
    ModelChangedError
        The job was started with other weights.
    JobCancelledError
        The job was cancelled, before or in the meantime.
    """
    stop = stop or threading.Event()
    run = _Run(database, engine, job, batch_tokens, stop, on_progress, lease_seconds)
    run.begin()
    with run.heartbeat:
        return run.complete()


class _Run:
    """One run of a job: this thread measures, another stores what was measured before."""

    def __init__(
        self,
        database: Database,
        engine: Engine,
        job: JobRecord,
        batch_tokens: int | None,
        stop: threading.Event,
        on_progress: Callable[[RunProgress], None],
        lease_seconds: float,
    ) -> None:
        self._database = database
        self._engine = engine
        self._job = job
        self._batch_tokens = batch_tokens
        self._stop = stop
        self._lease_seconds = lease_seconds
        self.heartbeat = Heartbeat(database, lease_seconds)
        self._pilots, self._means = Pilots(), JobMeans()
        self._progress = Progressing(on_progress)
        self._storing = Storing(self._store)

    def begin(self) -> None:
        """Free what dead processes held, and refuse to mix the numbers of two models."""
        with self._database.write() as session:
            state = jobs.get(session, self._job.id).state
            if state == JobState.CANCELLED:
                raise JobCancelledError(self._job.id)
            if state == JobState.PAUSED:
                control.unpause(session, self._job.id)
            weights = provenance.weights_hashes(session, self._job.id)
            if weights and self._engine.provenance.weights_hash not in weights:
                raise ModelChangedError(self._job.id, self._job.spec.model)
            leases.release_dead(session, may_be_alive, self._job.id)
            jobs.reopen(session, self._job.id)

    def complete(self) -> RunEnd:
        """Run chunks until none is left, or a stop is requested."""
        with self._storing:
            while not self._stop.is_set():
                claimed = self._claim()
                if claimed is not None:
                    self._work(*claimed)
                elif not self._finish():
                    wait = self._next_claim_in()
                    if wait is None:
                        return RunEnd(stopped=False)
                    self._stop.wait(min(max(wait, 0.05), _LONGEST_WAIT))
            self._finish()
        return RunEnd(stopped=True)

    def _claim(self) -> tuple[Lease, list[Pair]] | None:
        """Take the job's next chunk; return it and its pairs."""
        self._storing.settle()
        with self._database.write() as session:
            is_kept, claimed = self._storing.claim(
                session, worker_name(), self._lease_seconds, job_id=self._job.id
            )
        if not is_kept:
            self._drop()
        return claimed

    def _drop(self) -> None:
        """Drop the chunk that was just measured: its lease was lost."""
        lease = self._storing.ready
        assert lease is not None, "there was nothing to lose"
        self._storing.drop()
        self._progress.dropped(lease.last - lease.first)
        _say_lost(lease)

    def _finish(self) -> bool:
        """Store what is measured; tell whether there was anything."""
        stored = self._storing.finish()
        if stored:
            self._progress.report()
        return stored

    def _next_claim_in(self) -> float | None:
        """Return the seconds until another chunk may be claimed, None if there is none left."""
        with self._database.read() as session:
            wait = leases.next_claim_in(session, self._job.id)
            if wait is None and jobs.get(session, self._job.id).state == JobState.CANCELLED:
                raise JobCancelledError(self._job.id)
            return wait

    def _work(self, lease: Lease, pairs: Sequence[Pair]) -> None:
        """Measure one chunk while the one before it is stored, or hand it back."""
        try:
            with self._database.read() as session:
                self._progress.begin(job_progress(session, self._job.id), lease.round)
            self._storing.hand_over()
            if lease.suspect:
                self._storing.settle()
            self._storing.keep(self._measure(lease, pairs))
        except LeaseLostError:
            _say_lost(lease)
        except BaseException as error:
            with suppress(DatabaseGone):
                self._release(lease)
            if not isinstance(error, StopRequestedError):
                raise
        else:
            self._progress.computed(len(pairs))
        if lease.suspect:
            self._finish()

    def _measure(self, lease: Lease, pairs: Sequence[Pair]) -> Computed:
        def on_share(share: float) -> None:
            self._progress.report(share * len(pairs))
            if self._stop.is_set() and share < 1:
                raise StopRequestedError

        return Attempt(
            heartbeat=self.heartbeat,
            waiting=self._waiting(),
            engine=lambda: self._engine,
            job=self._job,
            lease=lease,
            pairs=pairs,
            batch_tokens=self._batch_tokens,
            pilots=self._pilots,
            means=self._means,
            on_share=on_share,
        ).measure()

    def _store(self, computed: Computed) -> bool:
        """Commit one chunk, or hand it back."""
        lease = computed.lease
        try:
            computed.store(self._waiting())
        except LeaseLostError:
            self._progress.dropped(lease.last - lease.first)
            _say_lost(lease)
            return False
        except BaseException:
            self._progress.dropped(lease.last - lease.first)
            with suppress(*LOST):
                self._release(lease)
            raise
        self._progress.stored(computed.result)
        return True

    def _waiting(self) -> Waiting:
        return Waiting(self._database, seconds=_PATIENCE, over=self._stop.is_set)

    def _release(self, lease: Lease) -> None:
        with self._database.write() as session:
            leases.release(session, lease)


def _say_lost(lease: Lease) -> None:
    _log.warning("lost the lease of chunk %s: its results are dropped", lease.chunk_id)
