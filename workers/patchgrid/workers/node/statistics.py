"""What a worker has done and is at: written by those that measure and store, read by the one that tells."""

import threading
import time
from collections import Counter, deque

from patchgrid.core.states import WorkerState
from patchgrid.storage.chunks.chunk_result import ChunkResult
from patchgrid.storage.queue.leases import Lease
from patchgrid.storage.queue.workers import WorkerStatus
from patchgrid.workers.measuring.causes import cause_of
from patchgrid.workers.node.slices import Counts

#: Seconds that the speed is an average over.
WINDOW = 120.0


class Pace:
    """Pairs a second, as a moving average."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self._began = time.monotonic()
        #: (second, pairs finished in it)
        self._seconds: deque[tuple[int, float]] = deque()

    def add(self, pairs: float) -> None:
        """Record pairs that were just finished."""
        second = int(time.monotonic())
        if self._seconds and self._seconds[-1][0] == second:
            pairs += self._seconds.pop()[1]
        self._seconds.append((second, pairs))
        while self._seconds[0][0] < second - self._window:
            self._seconds.popleft()

    def per_second(self) -> float | None:
        """Return the speed, or None if nothing was finished of late."""
        now = time.monotonic()
        recent = [pairs for second, pairs in tuple(self._seconds) if second >= now - self._window]
        if not recent:
            return None
        return sum(recent) / max(1.0, min(self._window, now - self._began))


class WorkerStatistics:
    """The counts and the state of one worker."""

    def __init__(self) -> None:
        self.pace = Pace()
        #: The current chunk: the one that is measured, or else the one that is stored.
        self.lease: Lease | None = None
        #: Chunks and pairs committed.
        self.chunks = 0
        self.pairs = 0
        self.lease_losses = 0
        self.takeovers = 0
        self.failures: Counter[str] = Counter()
        #: The work began.
        self.started = False
        #: The worker will end.
        self.ending = False
        #: Why the database does not take anything, or None.
        self.trouble: str | None = None
        #: What an operator should know besides.
        self.message: str | None = None
        self._share = 0.0
        self._changing = threading.Lock()

    def begin(self, lease: Lease) -> None:
        """Record a chunk that was claimed."""
        with self._changing:
            self.lease, self._share = lease, 0.0
        self.takeovers += lease.takeover

    def share(self, share: float) -> None:
        """Record the share of the chunk that is done."""
        if self.lease is not None and share > self._share:
            self.pace.add((share - self._share) * (self.lease.last - self.lease.first))
            self._share = share

    def finish(self, result: ChunkResult) -> int:
        """Record a chunk that was committed; return the number of its pairs that failed."""
        failed = [cause_of(each.error or "") for each in result.outcomes if each.state == "failed"]
        self.chunks += 1
        self.pairs += len(result.outcomes)
        # A new object, not a changed one: another thread may be reading.
        self.failures = self.failures + Counter(failed)
        return len(failed)

    def counts(self) -> Counts:
        """Return what was committed so far."""
        return Counts(self.chunks, self.pairs, sum(self.failures.values()))

    def lose(self) -> None:
        """Record a lease that was lost."""
        with self._changing:
            self.lease_losses += 1

    def end(self, lease: Lease) -> None:
        """Record that a chunk is through; one that was started since stays current."""
        with self._changing:
            if self.lease == lease:
                self.lease = None

    def status(self, loaded: tuple[str, ...], used: int | None, total: int | None) -> WorkerStatus:
        """Return it for the registry."""
        lease = self.lease
        return WorkerStatus(
            state=self._state(),
            message=self.trouble or self.message,
            loaded=loaded,
            job_id=None if lease is None else lease.job_id,
            chunk_id=None if lease is None else lease.chunk_id,
            memory_used=used,
            memory_total=total,
            chunks=self.chunks,
            pairs=self.pairs,
            pairs_per_second=self.pace.per_second(),
            lease_losses=self.lease_losses,
            takeovers=self.takeovers,
            failures=dict(self.failures),
        )

    def _state(self) -> WorkerState:
        if self.trouble is not None:
            return WorkerState.WAITING
        if self.ending:
            return WorkerState.DRAINING
        if not self.started:
            return WorkerState.STARTING
        return WorkerState.IDLE if self.lease is None else WorkerState.WORKING
