"""One worker process per GPU, restarted after a crash.

The parent knows nothing about jobs and databases: it starts a command, waits, forwards signals, and restarts
the command. Its children end when it does, however it ends.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_log = logging.getLogger(__name__)

#: CUDA's list of the GPUs that a process may use.
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
#: Linux: the signal sent to a process when its parent ends.
_PR_SET_PDEATHSIG = 1
#: Seconds between checks of the children.
_LOOK = 0.1


@dataclass(frozen=True, slots=True)
class Backoff:
    """Backoff before a crashed child is restarted."""

    #: Seconds after the first crash; twice as long after each.
    first: float = 1.0
    #: Seconds at most.
    most: float = 60.0
    #: A child that lived this many seconds counts as healthy.
    well_after: float = 300.0


class _Child:
    """One GPU's process, or the time of its restart."""

    def __init__(self, command: Sequence[str], device: str, backoff: Backoff) -> None:
        self._command = command
        self._device = device
        self._backoff = backoff
        self._crashes = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._start_at: float | None = time.monotonic()
        #: Exit code of the last process, None before it ended.
        self.code: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing will be started."""
        return self._process is None and self._start_at is None

    def tend(self, *, stopping: bool) -> None:
        """Start the process when due; record its end."""
        if self._process is None:
            if self._start_at is not None and time.monotonic() >= self._start_at:
                self._start()
            return
        code = self._process.poll()
        if code is not None:
            self._process = None
            self._ended(code, stopping=stopping)

    def signal(self, number: int) -> None:
        """Forward a signal; nothing is restarted after it."""
        self._start_at = None
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _start(self) -> None:
        parent, prctl = os.getpid(), ctypes.CDLL(None).prctl if sys.platform == "linux" else None
        self._process = subprocess.Popen(  # noqa: S603 (our own command)
            list(self._command),
            env=os.environ | {_VISIBLE: self._device},
            # At a terminal Ctrl-C reaches the whole process group: only the parent forwards it.
            process_group=0,
            preexec_fn=lambda: _end_with(parent, prctl),
        )
        self._began, self._start_at = time.monotonic(), None
        _log.info("started the worker of GPU %s (process %d)", self._device, self._process.pid)

    def _ended(self, code: int, *, stopping: bool) -> None:
        # A child that was stopped before it could handle signals has also exited cleanly.
        self.code = 0 if stopping and -code in _SIGNALS else code
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        if self.code == 0 or stopping:
            _log.info("the worker of GPU %s exited with %s", self._device, how)
            return
        lived = time.monotonic() - self._began
        self._crashes = 1 if lived >= self._backoff.well_after else self._crashes + 1
        wait = min(self._backoff.first * 2.0 ** (self._crashes - 1), self._backoff.most)
        self._start_at = time.monotonic() + wait
        _log.warning("the worker of GPU %s crashed (%s); restarting in %.0f s", self._device, how, wait)


def supervise(
    command: Sequence[str],
    devices: Sequence[str],
    *,
    backoff: Backoff | None = None,
) -> int:
    """Run a command once per device, which it sees as its only GPU, until all have ended.

    A crashed command is restarted, one that ends with exit code 0 is not. SIGTERM, SIGINT and SIGUSR1 are
    forwarded each time, and nothing is restarted after that. Must be called in the main thread.

    Returns
    -------
    0 if all exited cleanly, else the exit code of one that did not (128 + n for signal n).
    """
    children = [_Child(command, device, backoff or Backoff()) for device in devices]
    # The handler only records the signal, so it is safe at any moment.
    received: list[int] = []
    stopping = False
    with _handling(lambda number, _frame: received.append(number)):
        while not all(child.is_over for child in children):
            while received:
                stopping = True
                number = received.pop(0)
                for child in children:
                    child.signal(number)
            for child in children:
                child.tend(stopping=stopping)
            time.sleep(_LOOK)
    codes = [child.code for child in children if child.code]
    return 0 if not codes else max(code if code > 0 else 128 - code for code in codes)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _end_with(parent: int, prctl: Callable[..., int] | None) -> None:
    """In a child, before its command starts: make it end with the parent."""
    if prctl is not None:
        # SIGTERM, not SIGKILL: the current chunk is finished or handed back.
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(0)
