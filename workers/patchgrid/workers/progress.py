"""How far a run is, as its two threads find out: what is measured, and what of it is stored."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from patchgrid.storage.jobs import Progress
from patchgrid.storage.writing import ChunkResult


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a job is."""

    #: Pairs measured and stored so far.
    done: int
    #: Pairs that could not be measured.
    failed: int
    #: Pairs measured that are not stored yet, those of the running chunk as a fraction.
    in_flight: float


class Progressing:
    """Counts, and tells from the thread that measures."""

    def __init__(self, on_progress: Callable[[RunProgress], None]) -> None:
        self._on_progress = on_progress
        self._changing = threading.Lock()
        self._done = self._failed = self._computed = 0

    def begin(self, stored: Progress) -> None:
        """Take what is stored of the job, by whomever, at a moment at which nothing is on its way there."""
        with self._changing:
            self._done, self._failed = stored.done, stored.failed

    def computed(self, pairs: int) -> None:
        """Take note of pairs that are measured, and not stored yet."""
        with self._changing:
            self._computed += pairs

    def stored(self, result: ChunkResult) -> None:
        """Take note of a chunk that is stored."""
        failed = sum(outcome.state == "failed" for outcome in result.outcomes)
        with self._changing:
            self._computed -= len(result.outcomes)
            self._done += len(result.outcomes) - failed
            self._failed += failed

    def dropped(self, pairs: int) -> None:
        """Take note of measured pairs that are not stored after all."""
        with self._changing:
            self._computed -= pairs

    def tell(self, running: float = 0.0) -> None:
        """Tell how far it is, with so many pairs of the running chunk measured."""
        with self._changing:
            progress = RunProgress(self._done, self._failed, self._computed + running)
        self._on_progress(progress)
