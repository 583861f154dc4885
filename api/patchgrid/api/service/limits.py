"""How much at a time: requests of one caller, and costly things altogether."""

import asyncio
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from patchgrid.api.web.problems import Problem, too_busy

#: Seconds over which a caller may save up requests.
_BURST = 3.0
#: Seconds between two looks for a free place.
_LOOK = 0.05
#: Callers that are remembered.
_CALLERS = 10_000


class Rate:
    """Requests of each caller, by a bucket that fills with time (token bucket)."""

    def __init__(self, per_second: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._size = max(1.0, per_second * _BURST)
        self._now = now
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Count a request; `Problem` 429 for one too many, with the time to wait."""
        now = self._now()
        with self._lock:
            left, before = self._left.pop(caller, (self._size, now))
            left = min(self._size, left + (now - before) * self._rate)
            self._left[caller] = (left - 1 if left >= 1 else left, now)
            if len(self._left) > _CALLERS:
                self._left.popitem(last=False)
        if left < 1:
            wait = max(1, round((1 - left) / self._rate))
            detail = f"more than {self._rate:g} requests a second: try again in {wait} s"
            raise Problem(429, "too-many-requests", detail, headers={"Retry-After": str(wait)})


class Slots:
    """Room for so many things of a kind at a time, of which no caller has more than a share."""

    def __init__(self, count: int, what: str, share: int) -> None:
        self._count, self._share = count, min(share, count)
        self._held: Counter[str | None] = Counter()
        self._lock = threading.Lock()
        self._all = f"the server has {count} {what} in hand, no more at a time: try again soon"
        self._own = f"this token has {self._share} {what} in hand, no more at a time: try again soon"

    @contextmanager
    def one(self, caller: str | None) -> Iterator[None]:
        """Hold a place; `Problem` 503 if there is none."""
        self.take(caller)
        try:
            yield
        finally:
            self.give_back(caller)

    @asynccontextmanager
    async def awaited(self, caller: str | None, seconds: float) -> AsyncIterator[None]:
        """Hold a place, for which is waited so long; `Problem` 503 if none was left free."""
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
        """Take a place; `Problem` 503 if there is none. The share is not for None: nobody that is known."""
        if (words := self._try(caller)) is not None:
            raise too_busy(words)

    def give_back(self, caller: str | None) -> None:
        """Leave the place; `ValueError` for one that the caller has not."""
        with self._lock:
            if not self._held[caller]:
                raise ValueError(f"{caller} gives back a place that it has not")
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]

    def _try(self, caller: str | None) -> str | None:
        """Take a place, or say why there is none."""
        with self._lock:
            if self._held.total() >= self._count:
                return self._all
            if caller is not None and self._held[caller] >= self._share:
                return self._own
            self._held[caller] += 1
        return None
