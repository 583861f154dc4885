"""The part of a Celery worker that measures: started after the pool, stopped before it."""

import logging
import signal
import threading
import time
from types import FrameType
from typing import Any

from celery import bootsteps
from celery.concurrency.thread import TaskPool
from celery.worker import state

from patchgrid.workers.celery.task import send_successor

_log = logging.getLogger(__name__)

#: Signals within this many seconds count as one: a cluster signals every process of a step.
_ECHO = 0.5
#: All begin Celery's warm shutdown, Slurm's warning (SIGUSR1), too; SIGQUIT does not wait for the chunk.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGQUIT)


class MeasuringStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Runs the application's worker in a thread of its own, for the life of the process.

    The worker ends by itself (drained, idle, enough chunks), or when Celery is told to stop: the first signal
    is Celery's warm shutdown, with our grace period; a second one hands the chunk back.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        if parent.pool_cls is not TaskPool:
            raise SystemExit("the pool must be threads, in which one thread computes: omit --pool")
        self._app = parent.app
        self._worker = parent.app.make(parent.app)
        self._thread = threading.Thread(target=self._run, name="patchgrid-measuring", daemon=True)
        self._hang_up = signal.getsignal(signal.SIGHUP)
        self._last = -_ECHO
        self._asked = 0
        #: What ended the worker, if it was an error.
        self.error: BaseException | None = None
        parent.app.step = self

    def start(self, parent: Any) -> None:
        """Start measuring; from here on signals stop the worker, too."""
        self._app.worker = self._worker
        self._worker.slices.on_left = lambda model: self._send(parent, model)
        if threading.current_thread() is threading.main_thread():
            warm = signal.getsignal(signal.SIGTERM)
            for number in _SIGNALS:
                signal.signal(number, lambda number, frame: self._on_signal(number, frame, warm))
            signal.signal(signal.SIGHUP, self._hang_up)  # Celery would restart the worker
        self._thread.start()

    def stop(self, parent: Any) -> None:
        """Stop measuring, now that no message comes any more."""
        if self._thread.ident is None:
            return
        self._worker.stop()
        while self._thread.is_alive():
            self._thread.join(0.1)  # with a timeout: signals are still handled
        if self.error is not None:
            parent.exitcode = getattr(self.error, "exit_code", 1)

    def terminate(self, parent: Any) -> None:
        """Stop measuring at once: the chunk is handed back."""
        self._worker.stop_now()
        self.stop(parent)

    def _run(self) -> None:
        try:
            self._worker.run()
        except BaseException as error:  # noqa: BLE001 (`run` of process.py raises it)
            self.error = error
            _log.error("the worker ended: %s", error)
        finally:
            # Celery's own flag: the consumer looks at it several times a second.
            state.should_stop = 0

    def _on_signal(self, number: int, frame: FrameType | None, warm: Any) -> None:
        """Stop the worker, then Celery: its own cold shutdown would wait for the task without an end."""
        now = time.monotonic()
        if now - self._last >= _ECHO:
            self._last = now
            self._asked += 1
        (self._worker.stop if self._asked == 1 and number != signal.SIGQUIT else self._worker.stop_now)()
        warm(number, frame)

    def _send(self, parent: Any, model: str) -> None:
        """Send a message for work that was found without one, if the broker is there."""
        if parent.consumer is not None and parent.consumer.connected:
            send_successor(self._app, model)
