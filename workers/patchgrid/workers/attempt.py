"""One lease worked off: what `patchgrid run` and a worker of the cluster both do with a chunk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from patchgrid.engine.types import Pair
from patchgrid.storage import leases
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.leases import Lease
from patchgrid.storage.writing import ChunkResult
from patchgrid.workers.carefully import measure_carefully
from patchgrid.workers.errors import LeaseLostError
from patchgrid.workers.heartbeat import Heartbeat
from patchgrid.workers.jobmeans import JobMeans
from patchgrid.workers.measuring import OnShare, measure_chunk
from patchgrid.workers.models import Engine
from patchgrid.workers.pilot import Pilots
from patchgrid.workers.waiting import Waiting


@dataclass(frozen=True, slots=True)
class Attempt:
    """One lease, and what it takes to work it off."""

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
    on_point: Callable[[str], None] = lambda _name: None

    def work(self) -> ChunkResult:
        """Measure the chunk and commit it; give what was committed.

        Raises
        ------
        LeaseLostError
            The lease is no longer held: nothing was written.
        StorageError
            The database stayed away for longer than there was patience: nobody knows whether it was written.
        """
        with self.heartbeat.hold(self.lease) as lost:

            def on_share(share: float) -> None:
                self.on_share(share)
                if lost.is_set():
                    raise LeaseLostError

            engine = self.engine()
            if lost.is_set():
                raise LeaseLostError
            result = self._measure(engine, on_share)
            self.on_point("before commit")
            if not self.waiting.write(lambda session: leases.finish(session, self.lease, result)):
                raise LeaseLostError
            self.on_point("committed")
        return result

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
