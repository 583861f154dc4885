"""One lease worked off: what `patchgrid run` and a worker of the cluster both do with a chunk."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from patchgrid.core.types import Pair
from patchgrid.storage.chunks.chunk_result import ChunkResult
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import leases
from patchgrid.storage.queue.leases import Lease
from patchgrid.workers.errors import LeaseLostError
from patchgrid.workers.measuring.chunk import OnShare, measure_chunk
from patchgrid.workers.measuring.db_retry import Waiting
from patchgrid.workers.measuring.heartbeat import Heartbeat
from patchgrid.workers.measuring.isolate import measure_carefully
from patchgrid.workers.measuring.job_means import JobMeans
from patchgrid.workers.measuring.models import Engine
from patchgrid.workers.measuring.pilot import Pilots


def _no_point(_name: str) -> None:
    """Let a point pass."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A chunk that is measured and not stored yet; its lease is extended until it is let go."""

    lease: Lease
    result: ChunkResult
    #: When the attempt began, by the monotonic clock.
    began: float
    #: Extends the lease no more.
    let_go: Callable[[], None]

    def store(self, waiting: Waiting, on_point: Callable[[str], None] = _no_point) -> None:
        """Commit it, and let go of the lease.

        Raises
        ------
        LeaseLostError
            The lease is no longer held: nothing was written.
        StorageError
            The database stayed away for longer than there was patience: nobody knows whether it was written.
        """
        try:
            on_point("before commit")
            if not waiting.write(lambda session: leases.finish(session, self.lease, self.result)):
                raise LeaseLostError
            on_point("committed")
        finally:
            self.let_go()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One lease, and what it takes to measure its chunk."""

    #: Extends the lease meanwhile.
    heartbeat: Heartbeat
    #: Repeats transactions while the database is away.
    waiting: Waiting
    #: Gives the engine of the job's model, loading it if need be: the lease is held meanwhile.
    engine: Callable[[], Engine]
    job: JobRecord
    lease: Lease
    #: The chunk's pairs, in order.
    pairs: Sequence[Pair]
    batch_tokens: int | None
    pilots: Pilots
    means: JobMeans
    #: Takes the share of the work that is done, after each batch; what it raises ends the attempt.
    on_share: OnShare
    #: Takes the name of each point that is passed.
    on_point: Callable[[str], None] = _no_point

    def measure(self) -> Computed:
        """Measure the chunk; its lease is held on to, to be stored.

        Raises
        ------
        LeaseLostError
            The lease is no longer held.
        """
        began = time.monotonic()
        with ExitStack() as holding:
            lost = holding.enter_context(self.heartbeat.hold(self.lease))

            def on_share(share: float) -> None:
                self.on_share(share)
                if lost.is_set():
                    raise LeaseLostError

            engine = self.engine()
            if lost.is_set():
                raise LeaseLostError
            result = self._measure(engine, on_share)
            return Computed(self.lease, result, began, holding.pop_all().close)

    def _measure(self, engine: Engine, on_share: OnShare) -> ChunkResult:
        self.on_point("computing")

        def on_batch(_done: float) -> None:
            on_share(0.0)

        means = self.means.get(
            self.waiting, engine, self.job, self.lease, batch_tokens=self.batch_tokens, on_batch=on_batch
        )
        pilot = self.pilots.get(
            self.waiting,
            engine,
            self.job,
            means=means,
            attempts=self.lease.attempts,
            batch_tokens=self.batch_tokens,
            on_batch=on_batch,
        )
        if not self.lease.careful:
            return measure_chunk(
                engine,
                self.job,
                self.lease.first,
                self.pairs,
                pilot=pilot,
                means=means,
                batch_tokens=self.batch_tokens,
                on_share=on_share,
            )
        return measure_carefully(
            engine,
            self.job,
            self.lease.first,
            self.pairs,
            note=self._note,
            pilot=pilot,
            means=means,
            batch_tokens=self.batch_tokens,
            on_share=on_share,
        )

    def _note(self, index: int) -> None:
        if not self.waiting.write(lambda session: leases.note_pair(session, self.lease, index)):
            raise LeaseLostError
