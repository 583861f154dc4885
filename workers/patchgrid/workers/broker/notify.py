"""Wake-ups: messages that say "there is work", and nothing else.

A worker that receives one polls the database. A wake-up that is lost, repeated, late or forged only changes
how soon an idle worker polls.
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

#: Seconds before Celery is restarted after a failure, at first and at most.
_AGAIN, _LATEST = 2.0, 60.0


def notify(broker: str, job_id: int) -> None:
    """Wake all listening workers for a job.

    Raises `BrokerUnavailable` if the broker does not answer within about two seconds.
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
            raise BrokerUnavailable(f"{brokers.label(broker)} is unavailable: {_reason(error)}") from None


class WakeUps:
    """Waits for wake-ups from a broker, if there is one, and from this process.

    Celery receives them in its own thread, which ends with the process and neither handles signals nor
    touches the root logger.
    """

    def __init__(self, broker: str | None, *, remote_control: bool = False) -> None:
        self._broker, self._remote_control = broker, remote_control
        # Unlike an event, a signal handler may put into this in the middle of a wait.
        self._pending: SimpleQueue[None] = SimpleQueue()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        #: Whether the broker is available; None: no broker, or not known yet.
        self.connected: bool | None = None

    def start(self) -> None:
        """Start listening; raises `BrokerURLError` for a URL that is not supported."""
        if self._broker is None:
            return
        from patchgrid.workers.broker import broker as brokers
        from patchgrid.workers.broker import consumer

        app = brokers.make_app(self._broker, self._receive)
        consumer.log_plainly()
        self._thread = threading.Thread(
            target=self._listen, args=(app, consumer.listen), name="patchgrid-notify", daemon=True
        )
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for a wake-up; True if there was one, perhaps before this call."""
        try:
            self._pending.get(timeout=max(0.0, seconds))
        except Empty:
            return False
        while not self._pending.empty():
            self._pending.get()
        return True

    def wake(self) -> None:
        """Wake this process only; safe in a signal handler."""
        self._pending.put(None)

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
            except Exception as error:  # noqa: BLE001 (whatever Celery raises, the worker continues)
                _log.warning("listening to Redis failed: %r", error)
            if time.monotonic() - began > _LATEST:
                pause = _AGAIN
            if self._ended.wait(pause):
                return
            pause = min(2 * pause, _LATEST)
            _log.warning("reconnecting to Redis")

    def _receive(self, *args: object, **kwargs: object) -> None:
        if args or set(kwargs) != {"job"} or not isinstance(kwargs["job"], int):
            _log.warning("dropped a message: no job id: %.200r", args or kwargs)
            return
        _log.debug("wake-up for job %d", kwargs["job"])
        self._pending.put(None)

    def _on_broker(self, error: Exception | None) -> None:
        """Record whether the broker is available; log each change once."""
        from patchgrid.workers.broker.broker import label

        assert self._broker is not None
        connected = error is None
        if connected:
            self._pending.put(None)  # wake-ups may have been missed
        if connected == self.connected:
            return
        if error is not None:
            _log.warning(
                "%s is unavailable (%s): polling the database",
                label(self._broker),
                _reason(error),
            )
        elif self.connected is None:
            _log.info("listening for wake-ups on %s", label(self._broker))
        else:
            _log.info("%s is available again: listening for wake-ups", label(self._broker))
        self.connected = connected


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
