"""A thread that ends the process when it hangs, so that its GPU is not blocked."""

import faulthandler
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

_log = logging.getLogger(__name__)

#: Exit code of a process that hung or whose device failed: restart it.
EXIT_HUNG = 70
#: Timeout of loading a model (including a download) in seconds, if the usual limit is shorter.
LOADING = 2 * 3600.0
#: Seconds for reporting before the process exits.
_LAST_WORDS = 5.0


class Watchdog:
    """Ends the process after a number of seconds without progress."""

    def __init__(
        self,
        seconds: float,
        *,
        loading_seconds: float = LOADING,
        on_hang: Callable[[str], None] = lambda _message: None,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._usual = seconds
        self._loading = max(seconds, loading_seconds)
        self._limit = seconds
        self._on_hang = on_hang
        self._end = end
        self._last = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="patchgrid-watchdog", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self.progress()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def progress(self) -> None:
        """Report progress."""
        self._last = time.monotonic()

    def loading(self) -> AbstractContextManager[None]:
        """Use the timeout of loading a model."""
        return self._within(self._loading)

    def waiting(self) -> AbstractContextManager[None]:
        """Use no timeout: there is nothing to do."""
        return self._within(math.inf)

    @contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        self._limit = seconds
        try:
            yield
        finally:
            self.progress()
            self._limit = self._usual

    def _watch(self) -> None:
        while not self._stopped.wait(min(1.0, self._usual / 10)):
            since = time.monotonic() - self._last
            if since > self._limit:
                self._bark(since)
                return

    def _bark(self, since: float) -> None:
        message = f"no progress for {since:.0f} s: the process hangs; exiting"
        _log.critical("%s; its chunk is reassigned when the lease expires", message)
        faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
        # The database may be what hangs.
        words = threading.Thread(target=self._on_hang, args=(message,), daemon=True)
        words.start()
        words.join(_LAST_WORDS)
        self._end(EXIT_HUNG)
