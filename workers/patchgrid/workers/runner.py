"""Working one job off in this process: claim, measure and finish chunks until none is left."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from patchgrid.engine.types import Pair
from patchgrid.storage import control, jobs, leases, provenance
from patchgrid.storage.database import Database
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.leases import Lease
from patchgrid.workers.attempt import Attempt
from patchgrid.workers.errors import (
    JobCancelledError,
    LeaseLostError,
    ModelChangedError,
    StopRequestedError,
)
from patchgrid.workers.heartbeat import Heartbeat
from patchgrid.workers.identity import may_be_alive, worker_name
from patchgrid.workers.jobmeans import JobMeans
from patchgrid.workers.models import Engine
from patchgrid.workers.pilot import Pilots
from patchgrid.workers.waiting import Waiting

_log = logging.getLogger(__name__)

#: Longest wait, in seconds, before asking again for a chunk that another process holds.
_LONGEST_WAIT = 2.0
#: Seconds for which a database that is away is waited for: someone sits in front of this.
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a job is."""

    #: Pairs measured so far.
    done: int
    #: Pairs that could not be measured.
    failed: int
    #: Pairs of the running chunk measured so far, as a fraction.
    in_flight: float


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
    """Work a job off in this process; a paused one goes on.

    A chunk that another living process holds is waited for; one whose process on this host is dead is taken
    over at once, so the same command goes on after a crash.

    Parameters
    ----------
    stop
        Set it to stop after the running batch; the chunk is handed back.

    Raises
    ------
    ModelChangedError
        The job was begun with other weights.
    JobCancelledError
        The job was cancelled, before or meanwhile.
    """
    heartbeat = Heartbeat(database, lease_seconds)
    stop = stop or threading.Event()
    run = _Run(database, engine, job, batch_tokens, stop, on_progress, lease_seconds, heartbeat)
    run.begin()
    with heartbeat:
        while not stop.is_set():
            claimed = run.claim()
            if claimed is not None:
                run.work(*claimed)
                continue
            wait = run.next_claim_in()
            if wait is None:
                return RunEnd(stopped=False)
            stop.wait(min(max(wait, 0.05), _LONGEST_WAIT))
    return RunEnd(stopped=True)


@dataclass(frozen=True, slots=True)
class _Run:
    """What the steps of one run share."""

    database: Database
    engine: Engine
    job: JobRecord
    batch_tokens: int | None
    stop: threading.Event
    on_progress: Callable[[RunProgress], None]
    lease_seconds: float
    heartbeat: Heartbeat
    pilots: Pilots = field(default_factory=Pilots)
    means: JobMeans = field(default_factory=JobMeans)

    @property
    def waiting(self) -> Waiting:
        return Waiting(self.database, seconds=_PATIENCE, over=self.stop.is_set)

    def begin(self) -> None:
        """Free what dead processes held, and refuse to mix the numbers of two models."""
        with self.database.write() as session:
            state = jobs.get(session, self.job.id).state
            if state == "cancelled":
                raise JobCancelledError(self.job.id)
            if state == "paused":
                control.unpause(session, self.job.id)
            known = provenance.weights_hashes(session, self.job.id)
            if known and self.engine.provenance.weights_hash not in known:
                raise ModelChangedError(self.job.id, self.job.spec.model)
            leases.release_dead(session, may_be_alive, self.job.id)
            jobs.reopen(session, self.job.id)

    def claim(self) -> tuple[Lease, list[Pair]] | None:
        """Take the job's next chunk; give it and its pairs."""
        with self.database.write() as session:
            lease = leases.claim(session, worker_name(), job_id=self.job.id, lease_seconds=self.lease_seconds)
            return None if lease is None else (lease, leases.chunk_pairs(session, lease))

    def next_claim_in(self) -> float | None:
        """Give the seconds until another chunk may be had, None if there is none left."""
        with self.database.read() as session:
            wait = leases.next_claim_in(session, self.job.id)
            if wait is None and jobs.get(session, self.job.id).state == "cancelled":
                raise JobCancelledError(self.job.id)
            return wait

    def work(self, lease: Lease, pairs: Sequence[Pair]) -> None:
        """Measure one chunk and commit it, or hand it back."""
        try:
            self._measure_and_finish(lease, pairs)
        except LeaseLostError:
            _log.warning("the lease of chunk %s was lost: its results are dropped", lease.chunk_id)
        except BaseException as error:
            with self.database.write() as session:
                leases.release(session, lease)
            if not isinstance(error, StopRequestedError):
                raise

    def _measure_and_finish(self, lease: Lease, pairs: Sequence[Pair]) -> None:
        with self.database.read() as session:
            progress = jobs.progress(session, self.job.id)

        def on_share(share: float) -> None:
            self.on_progress(RunProgress(progress.done, progress.failed, share * len(pairs)))
            if self.stop.is_set() and share < 1:
                raise StopRequestedError

        result = Attempt(
            heartbeat=self.heartbeat,
            waiting=self.waiting,
            engine=lambda: self.engine,
            job=self.job,
            lease=lease,
            pairs=pairs,
            batch_tokens=self.batch_tokens,
            pilots=self.pilots,
            means=self.means,
            on_share=on_share,
        ).work()
        failed = sum(outcome.state == "failed" for outcome in result.outcomes)
        done = len(result.outcomes) - failed
        self.on_progress(RunProgress(progress.done + done, progress.failed + failed, 0.0))
