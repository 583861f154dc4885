"""Slices: permissions to work for a while, which a worker uses one after another.

A Celery task asks for one and waits for its end. A worker whose queue is silent works slices of its own.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue


@dataclass(frozen=True, slots=True)
class Counts:
    """What a worker has done since it started."""

    #: Chunks and pairs committed, and the pairs of them that failed.
    chunks: int = 0
    pairs: int = 0
    failed: int = 0

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(self.chunks - other.chunks, self.pairs - other.pairs, self.failed - other.failed)


@dataclass(frozen=True, slots=True)
class SliceEnd:
    """How a slice ended."""

    #: What was done in it.
    counts: Counts
    #: Whether there is work left that another slice can do.
    left: bool


class _Slice:
    """One slice; without a model it is the worker's own."""

    def __init__(self, model: str | None) -> None:
        self.model = model
        self.end: Future[SliceEnd] = Future()


class Slices:
    """The slices of one worker: asked for by tasks in other threads, used by the one that measures.

    Parameters
    ----------
    seconds
        Length of a slice.
    counts
        Returns what the worker has done so far.
    """

    def __init__(self, seconds: float, counts: Callable[[], Counts]) -> None:
        self._seconds = seconds
        self._counts = counts
        self._pending: deque[_Slice] = deque()
        self._lock = threading.Lock()
        self._closed = False
        self._current: _Slice | None = None
        self._until = 0.0
        self._before = Counts()
        # Unlike an event, a signal handler may put into this in the middle of a wait.
        self._wakes: SimpleQueue[None] = SimpleQueue()
        #: Sends a message for a model with work left, after a slice of the worker's own; None: no broker.
        self.on_left: Callable[[str], None] | None = None

    def work(self, model: str) -> SliceEnd:
        """Ask for a slice and wait until it has ended."""
        slice_ = _Slice(model)
        with self._lock:
            if self._closed:
                return SliceEnd(Counts(), left=True)
            self._pending.append(slice_)
        self.wake()
        return slice_.end.result()

    def wake(self) -> None:
        """End a wait; safe in a signal handler."""
        self._wakes.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait until a slice is asked for, or something else happens; True if anything did."""
        try:
            self._wakes.get(timeout=max(0.0, seconds))
        except Empty:
            return False
        while not self._wakes.empty():
            self._wakes.get()
        return True

    @property
    def model(self) -> str | None:
        """The model of the current slice, None in one of the worker's own."""
        return None if self._current is None else self._current.model

    @property
    def is_pending(self) -> bool:
        """Whether a slice is asked for that has not begun."""
        return bool(self._pending)

    @property
    def is_over(self) -> bool:
        """Whether the time of the current slice is up."""
        return self._current is not None and time.monotonic() >= self._until

    def take(self) -> None:
        """Begin the next slice that was asked for, in place of one of the worker's own."""
        if self._current is not None and self._current.model is not None:
            return
        with self._lock:
            following = self._pending.popleft() if self._pending else None
        if following is not None:
            self._begin(following)

    def begin_own(self) -> None:
        """Begin a slice of the worker's own, unless there is one."""
        if self._current is None and self.on_left is not None:
            self._begin(_Slice(None))

    def end(self, *, left: bool) -> None:
        """End the current slice, if there is one."""
        if self._current is not None:
            self._current.end.set_result(SliceEnd(self._counts() - self._before, left))
            self._current = None

    def close(self) -> None:
        """End every slice: who asked for one hands it on."""
        with self._lock:
            self._closed = True
            waiting = list(self._pending)
            self._pending.clear()
        self.end(left=True)
        for each in waiting:
            each.end.set_result(SliceEnd(Counts(), left=True))

    def _begin(self, slice_: _Slice) -> None:
        self._current = slice_
        self._until = time.monotonic() + self._seconds
        self._before = self._counts()
