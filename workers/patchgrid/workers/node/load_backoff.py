"""Backoff for models that a worker failed to load."""

import time
from collections.abc import Sequence

#: Backoff in seconds after the first failure, and at most.
FIRST, MOST = 60.0, 600.0


class LoadBackoff:
    """Exponential backoff per model."""

    def __init__(self, first: float = FIRST, most: float = MOST) -> None:
        self._first = first
        self._most = most
        self._failures: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def available(self, models: Sequence[str]) -> list[str]:
        """Return the models that are not in backoff."""
        now = time.monotonic()
        return [model for model in models if self._until.get(model, 0.0) <= now]

    def next_in(self) -> float | None:
        """Return the seconds until the next model leaves backoff; None if none is in backoff."""
        now = time.monotonic()
        left = [until - now for until in self._until.values() if until > now]
        return min(left, default=None)

    def fail(self, model: str) -> float:
        """Start or double a model's backoff; return it in seconds."""
        self._failures[model] = self._failures.get(model, 0) + 1
        seconds = min(self._first * 2.0 ** (self._failures[model] - 1), self._most)
        self._until[model] = time.monotonic() + seconds
        return seconds

    def clear(self, model: str) -> bool:
        """End a model's backoff; return whether it was in backoff."""
        self._until.pop(model, None)
        return self._failures.pop(model, None) is not None
