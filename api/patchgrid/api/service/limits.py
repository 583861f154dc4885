"""Rate limits per caller, and concurrency limits."""

import asyncio
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from patchgrid.api.web.problems import Problem, too_busy

#: Burst of a caller, in seconds of its rate.
_BURST = 3.0
#: Seconds between checks for a free slot.
_LOOK = 0.05
#: Most callers tracked.
_CALLERS = 10_000


class Rate:
    """A token bucket per caller."""

    def __init__(self, per_second: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._size = max(1.0, per_second * _BURST)
        self._now = now
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Count a request; `Problem` 429 with the time to wait if it is over the limit."""
        now = self._now()
        with self._lock:
            left, before = self._left.pop(caller, (self._size, now))
            left = min(self._size, left + (now - before) * self._rate)
            self._left[caller] = (left - 1 if left >= 1 else left, now)
            if len(self._left) > _CALLERS:
                self._left.popitem(last=False)
        if left < 1:
            wait = max(1, round((1 - left) / self._rate))
            detail = f"more than {self._rate:g} requests per second: retry in {wait} s"
            raise Problem(429, "too-many-requests", detail, headers={"Retry-After": str(wait)})


class Slots:
    """Slots for concurrent work of one kind, with a limit per caller."""

    def __init__(self, count: int, what: str, share: int) -> None:
        self._count, self._share = count, min(share, count)
        self._held: Counter[str | None] = Counter()
        self._lock = threading.Lock()
        self._all = f"the server is at its limit of {count} concurrent {what}: retry later"
        self._own = f"this token is at its limit of {self._share} concurrent {what}: retry later"

    @contextmanager
    def one(self, caller: str | None) -> Iterator[None]:
        """Hold a slot; `Problem` 503 if none is free."""
        self.take(caller)
        try:
            yield
        finally:
            self.give_back(caller)

    @asynccontextmanager
    async def awaited(self, caller: str | None, seconds: float) -> AsyncIterator[None]:
        """Hold a slot, waiting for one up to a timeout; `Problem` 503 if none becomes free."""
        end = time.monotonic() + seconds
        while (words := self._try(caller)) is not None:
            if time.monotonic() >= end:
                raise too_busy(words)
            await asyncio.sleep(_LOOK)
        try:
            yield
        finally:
            self.give_back(caller)

    def take(self, caller: str | None) -> None:
        """Take a slot; `Problem` 503 if none is free. The limit per caller does not apply to None."""
        if (words := self._try(caller)) is not None:
            raise too_busy(words)

    def give_back(self, caller: str | None) -> None:
        """Free a slot; raises `ValueError` for one that the caller does not hold."""
        with self._lock:
            if not self._held[caller]:
                raise ValueError(f"{caller} releases a slot that it does not hold")
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

    def _try(self, caller: str | None) -> str | None:
        """Take a slot, or return why none is free."""
        with self._lock:
            if self._held.total() >= self._count:
                return self._all
            if caller is not None and self._held[caller] >= self._share:
                return self._own
            self._held[caller] += 1
        return None
