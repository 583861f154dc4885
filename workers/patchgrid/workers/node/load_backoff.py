"""Models that a worker leaves to others for a while, because it could not load them."""

import time
from collections.abc import Sequence

#: Seconds for which a model is left out after the first failure, and at most.
FIRST, MOST = 60.0, 600.0


class LeftOut:
    """Which models are left out, and until when: twice as long after each failure."""

    def __init__(self, first: float = FIRST, most: float = MOST) -> None:
        self._first = first
        self._most = most
        self._failures: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def available(self, models: Sequence[str]) -> list[str]:
        """Give those of the models that are not left out now."""
        now = time.monotonic()
        return [model for model in models if self._until.get(model, 0.0) <= now]

    def next_in(self) -> float | None:
        """Give the seconds until a model that is left out is tried again; None: none is."""
        now = time.monotonic()
        left = [until - now for until in self._until.values() if until > now]
        return min(left, default=None)

    def fail(self, model: str) -> float:
        """Leave a model out from now on; give the seconds."""
        self._failures[model] = self._failures.get(model, 0) + 1
        seconds = min(self._first * 2.0 ** (self._failures[model] - 1), self._most)
        self._until[model] = time.monotonic() + seconds
        return seconds

    def clear(self, model: str) -> bool:
        """Leave a model out no more; tell whether it had failed."""
        self._until.pop(model, None)
        return self._failures.pop(model, None) is not None
