"""Bells: messages that say "there is work", and nothing else.

A worker that hears one asks the database. So a bell that is lost, repeated, late or forged changes nothing
but how soon an idle worker looks.
"""

import logging
import os
import socket
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any

from patchgrid.workers.errors import BrokerUnavailable

_log = logging.getLogger(__name__)

#: Seconds before Celery is started again when it gave up, at first and at most.
_AGAIN, _LATEST = 2.0, 60.0


def ring(broker: str, job_id: int) -> None:
    """Tell all listening workers that a job has work.

    `BrokerUnavailable` if the broker does not answer within about two seconds.
    """
    from kombu.exceptions import KombuError

    from patchgrid.workers.broker import broker as brokers

    app = brokers.make_app(broker)
    with app.connection_for_write(transport_options={"max_retries": 0}) as connection:
        errors = (*connection.connection_errors, *connection.channel_errors, KombuError, OSError)
        try:
            app.send_task(
                brokers.TASK,
                kwargs={"job": job_id},
                connection=connection,
                exchange=brokers.EXCHANGE,
                routing_key=brokers.CHANNEL,
                declare=[brokers.EXCHANGE],
                retry=False,
                ignore_result=True,
            )
        except errors as error:
            raise BrokerUnavailable(f"{brokers.label(broker)} cannot be reached: {_reason(error)}") from None


class Bell:
    """Waits for bells: those of a broker, where there is one, and those rung in this process.

    Celery hears them in a thread of its own, which ends with the process and neither handles signals nor
    touches the root logger.
    """

    def __init__(self, broker: str | None, *, remote_control: bool = False) -> None:
        self._broker, self._remote_control = broker, remote_control
        # Unlike an event, this may be rung by a signal handler in the middle of a wait.
        self._rung: SimpleQueue[None] = SimpleQueue()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        #: Whether the broker is there; None: there is none, or it is not yet known.
        self.connected: bool | None = None

    def start(self) -> None:
        """Begin to listen; `BrokerURLError` for a URL that cannot be used."""
        if self._broker is None:
            return
        from patchgrid.workers.broker import broker as brokers
        from patchgrid.workers.broker import listening

        app = brokers.make_app(self._broker, self._hear)
        listening.speak_plainly()
        self._thread = threading.Thread(
            target=self._listen, args=(app, listening.listen), name="patchgrid-bell", daemon=True
        )
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for a bell; True: one rang, perhaps before this call."""
        try:
            self._rung.get(timeout=max(0.0, seconds))
        except Empty:
            return False
        while not self._rung.empty():
            self._rung.get()
        return True

    def ring_locally(self) -> None:
        """Ring for this process alone; a signal handler may."""
        self._rung.put(None)

    def stop(self, seconds: float = 3.0) -> None:
        """Stop listening."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _listen(self, app: Any, listen: Any) -> None:
        name = f"patchgrid-{os.getpid()}@{socket.gethostname()}"
        pause = _AGAIN
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                listen(app, name, self._on_broker, self._ended.is_set, remote_control=self._remote_control)
            except Exception as error:  # noqa: BLE001 (whatever Celery stumbles over, the worker goes on)
                _log.warning("listening to Redis failed: %r", error)
            if time.monotonic() - began > _LATEST:
                pause = _AGAIN
            if self._ended.wait(pause):
                return
            pause = min(2 * pause, _LATEST)
            _log.warning("reconnecting to Redis")

    def _hear(self, *args: object, **kwargs: object) -> None:
        if args or set(kwargs) != {"job"} or not isinstance(kwargs["job"], int):
            _log.warning("dropped a message: no job id: %.200r", args or kwargs)
            return
        _log.debug("the bell rang for job %d", kwargs["job"])
        self._rung.put(None)

    def _on_broker(self, error: Exception | None) -> None:
        """Take note that the broker is there, or why not; say so once."""
        from patchgrid.workers.broker.broker import label

        assert self._broker is not None
        connected = error is None
        if connected:
            self._rung.put(None)  # bells may have been missed
        if connected == self.connected:
            return
        if error is not None:
            _log.warning(
                "%s is away (%s): the database is asked for work meanwhile",
                label(self._broker),
                _reason(error),
            )
        elif self.connected is None:
            _log.info("bells of %s are heard", label(self._broker))
        else:
            _log.info("%s is back: its bells are heard again", label(self._broker))
        self.connected = connected


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
