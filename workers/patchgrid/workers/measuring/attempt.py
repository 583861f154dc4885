"""One attempt at a chunk, shared by `patchgrid run` and by workers."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from patchgrid.core.types import Pair
from patchgrid.storage.chunks.chunk_result import ChunkResult
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import leases
from patchgrid.storage.queue.leases import Lease
from patchgrid.storage.sampling.earlier import Earlier, read_earlier
from patchgrid.workers.errors import LeaseLostError
from patchgrid.workers.measuring.chunk import OnShare, measure_chunk
from patchgrid.workers.measuring.db_retry import Waiting
from patchgrid.workers.measuring.heartbeat import Heartbeat
from patchgrid.workers.measuring.isolate import measure_carefully
from patchgrid.workers.measuring.job_means import JobMeans
from patchgrid.workers.measuring.later_round import measure_round
from patchgrid.workers.measuring.models import Engine
from patchgrid.workers.measuring.pilot import Pilots


def _no_point(_name: str) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A measured chunk that is not stored yet; its lease is extended until it is released."""

    lease: Lease
    result: ChunkResult
    #: Start of the attempt (monotonic clock).
    began: float
    #: Stops extending the lease.
    let_go: Callable[[], None]

    def store(self, waiting: Waiting, on_point: Callable[[str], None] = _no_point) -> None:
        """Commit it, and release the lease.

        Raises
        ------
        LeaseLostError
            The lease is no longer held: nothing was written.
        StorageError
            The database was unavailable for too long; whether it was written is unknown.
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
    """One lease, and everything needed to measure its chunk."""

    #: Extends the lease during the attempt.
    heartbeat: Heartbeat
    #: Retries transactions while the database is unavailable.
    waiting: Waiting
    #: Returns the engine of the job's model, loading it if needed while the lease is extended.
    engine: Callable[[], Engine]
    job: JobRecord
    lease: Lease
    #: The chunk's pairs, in order.
    pairs: Sequence[Pair]
    batch_tokens: int | None
    pilots: Pilots
    means: JobMeans
    #: Called with the completed share after each batch; what it raises ends the attempt.
    on_share: OnShare
    #: Called with the name of each point that is passed.
    on_point: Callable[[str], None] = _no_point

    def measure(self) -> Computed:
        """Measure the chunk; its lease is kept for storing.

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
        options: dict[str, Any] = {"pilot": pilot, "means": means, "batch_tokens": self.batch_tokens}

        def measure(first: int, pairs: Sequence[Pair], on_share: OnShare) -> ChunkResult:
            number = self.lease.round
            if number is None:
                return measure_chunk(engine, self.job, first, pairs, **options, on_share=on_share)
            earlier = self._earlier(first, first + len(pairs), number)
            return measure_round(
                engine, self.job, first, pairs, number, earlier, **options, on_share=on_share
            )

        if not self.lease.careful:
            return measure(self.lease.first, self.pairs, on_share)
        return measure_carefully(
            engine,
            self.job,
            self.lease.first,
            self.pairs,
            measure,
            note=self._note,
            round_=self.lease.round,
            on_share=on_share,
        )

    def _earlier(self, first: int, last: int, number: int) -> Earlier:
        return self.waiting.read(
            lambda session: read_earlier(session, self.job.id, self.job.spec, first, last, number)
        )

    def _note(self, index: int) -> None:
        if not self.waiting.write(lambda session: leases.note_pair(session, self.lease, index)):
            raise LeaseLostError
