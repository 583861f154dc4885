"""Ctrl-C and other signals: the first stops gracefully, the second stops at once."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from types import FrameType

from patchgrid.cli.errors import FAILED

SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Signals that stop workers; Slurm warns with SIGUSR1.
WORKER_SIGNALS = (*SIGNALS, signal.SIGUSR1)
ASKED = "stopping after the current batch (press again to stop now)"
GOES_ON = "stopped; run the same command again to resume"
_SIGNAL, _END = b"s", b"e"
#: Signals within this many seconds count as one: a cluster signals every process of a step, and a supervisor
#: forwards its own signals.
_ECHO = 0.5
_SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that is set when the user asks to stop; the second time, the process exits at once.

    Nothing is lost: the next run measures the current chunk again.
    """
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        terminal = sys.stderr.isatty()
        if stop.is_set():
            _write(f"{_SHOW_CURSOR}\n{GOES_ON}\n" if terminal else f"{GOES_ON}\n")
            os._exit(FAILED)
        stop.set()
        if not terminal:  # on a terminal the progress bar shows it
            _write(f"{ASKED}\n")

    with _handled(SIGNALS, handle):
        yield stop


@contextmanager
def drain_on_signals(stop: Callable[[], None], stop_now: Callable[[], None]) -> Iterator[None]:
    """Call `stop` after the first signal to a worker, `stop_now` after each later one.

    A thread calls them, woken through a pipe: a signal handler could interrupt code that holds the lock they
    need.
    """
    reader, writer = os.pipe()

    def call() -> None:
        steps = chain((stop,), repeat(stop_now))
        last = -_ECHO
        while os.read(reader, 1) == _SIGNAL:
            now = time.monotonic()
            if now - last >= _ECHO:
                next(steps)()
            last = now

    def handle(_number: int, _frame: FrameType | None) -> None:
        os.write(writer, _SIGNAL)

    thread = threading.Thread(target=call, name="patchgrid-signals", daemon=True)
    thread.start()
    try:
        with _handled(WORKER_SIGNALS, handle):
            yield
    finally:
        os.write(writer, _END)
        thread.join()
        os.close(reader)
        os.close(writer)


@contextmanager
def _handled(numbers: Iterable[int], handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(text: str) -> None:
    """Write around Python's buffers, which the interrupted code may be using."""
    os.write(2, text.encode())
