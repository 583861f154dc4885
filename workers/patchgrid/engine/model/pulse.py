"""Telling that a call goes on, pass by pass: a batch of many methods or steps may take long on its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Pulse:
    """Beats after each pass through a model, forward or backward, while someone listens."""

    def __init__(self) -> None:
        self._tell: Callable[[], None] = _nobody

    def beat(self) -> None:
        """Tell that a pass was made; what the listener raises ends the call."""
        self._tell()

    @contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        """Have someone listen for a while."""
        self._tell = tell
        try:
            yield
        finally:
            self._tell = _nobody


def _nobody() -> None:
    pass
