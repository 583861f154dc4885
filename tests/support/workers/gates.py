"""A chunk's commit that waits until a test lets it pass."""

import threading

#: State, attempts and epoch of a chunk that went well.
DONE = ("done", 1, 1)


class Gate:
    """Keeps the thread that stores before its commit, until a test opens it."""

    def __init__(self, at: int = 1) -> None:
        self._at, self._commits = at, 0
        #: A commit waits.
        self.reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, point: str) -> None:
        """Pass a point."""
        if point == "before commit":
            self._commits += 1
            if self._commits == self._at:
                self.reached.set()
                assert self._open.wait(20), "nobody opened the gate"

    def open(self) -> None:
        """Let it pass."""
        self._open.set()
