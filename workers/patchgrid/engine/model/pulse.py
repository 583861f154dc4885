"""Reporting progress pass by pass: a batch with many methods or steps may take long."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Pulse:
    """Calls a listener after each forward or backward pass through a model."""

    def __init__(self) -> None:
        self._tell: Callable[[], None] = _nobody

    def beat(self) -> None:
        """Report a pass; what the listener raises ends the call."""
        self._tell()

    @contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        """Set the listener in a `with` block."""
        self._tell = tell
        try:
            yield
        finally:
            self._tell = _nobody


def _nobody() -> None:
    pass
