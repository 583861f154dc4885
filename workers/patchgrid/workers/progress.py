"""A run's progress, reported by its two threads: measured pairs, and stored ones."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from patchgrid.core.states import OUTCOMES
from patchgrid.storage.chunks.chunk_result import ChunkResult
from patchgrid.storage.jobs.progress import Progress


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A job's progress."""

    #: Pairs measured and stored so far.
    done: int
    #: Pairs that could not be measured.
    failed: int
    #: Pairs omitted because the model does not get them right.
    skipped: int
    #: Pairs measured that are not stored yet, those of the running chunk as a fraction.
    in_flight: float
    #: Later round that these are of; 0: the scores.
    round: int = 0


class Progressing:
    """Counts, and tells from the thread that measures."""

    def __init__(self, on_progress: Callable[[RunProgress], None]) -> None:
        self._on_progress = on_progress
        self._changing = threading.Lock()
        self._pairs: Counter[str] = Counter()
        self._computed = self._round = 0

    def begin(self, stored: Progress, round_: int | None = None) -> None:
        """Take what is stored of the job, by whomever, at a moment at which nothing is on its way there."""
        with self._changing:
            self._round = round_ or 0
            self._pairs = Counter(done=stored.done, failed=stored.failed, skipped=stored.skipped)

    def computed(self, pairs: int) -> None:
        """Record pairs that are measured, and not stored yet."""
        with self._changing:
            self._computed += pairs

    def stored(self, result: ChunkResult) -> None:
        """Record a chunk that is stored."""
        with self._changing:
            self._computed -= len(result.outcomes)
            self._pairs.update(outcome.state for outcome in result.outcomes)

    def dropped(self, pairs: int) -> None:
        """Record measured pairs that are not stored after all."""
        with self._changing:
            self._computed -= pairs

    def report(self, running: float = 0.0) -> None:
        """Report the progress, with the measured pairs of the running chunk."""
        with self._changing:
            counts = {state: self._pairs[state] for state in OUTCOMES}
            progress = RunProgress(**counts, in_flight=self._computed + running, round=self._round)
        self._on_progress(progress)
