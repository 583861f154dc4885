"""Celery's consumer; it logs what it drops in a line, and says when the broker goes and comes."""

import logging
import time
from collections.abc import Callable
from typing import Any

from celery.worker import loops
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown
from kombu.exceptions import DecodeError, SerializerNotInstalled

from patchgrid.workers.broker.broker import label
from patchgrid.workers.broker.messages import problem, reason

_log = logging.getLogger(__name__)

#: Seconds between checks whether to stop.
_LOOK = 0.25
#: Seconds between a connection that failed and the next one.
_RETRY = 1.0
#: Characters of a bad message in a log line.
_SHOWN = 200
#: What reading a message raises that is none.
_NOT_A_MESSAGE = (
    *(AttributeError, LookupError, RecursionError, TypeError, ValueError),
    *(DecodeError, SerializerNotInstalled),
)


class _NotAMessageError(ConnectionError):
    """A message could not be read: a new connection leaves it behind."""


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Celery's consumer for a worker that lives through whatever is on its queue."""

    #: Whether the broker is available; None: not known yet.
    connected: bool | None = None

    def loop(self, *arguments: Any) -> None:
        """Receive messages; one that kombu cannot read has left the queue, and is dropped."""
        loop = loops.asynloop if self.hub else loops.synloop
        try:
            loop(*arguments)
        except _NOT_A_MESSAGE as error:
            _log.warning("dropped a message: not a Celery message (%.*r)", _SHOWN, error)
            time.sleep(_LOOK)  # Celery takes many new connections within a second for a fault of its own
            raise _NotAMessageError from None

    def create_task_handler(self, *arguments: Any) -> Callable[[Any], None]:
        """Return what receives a message: one that is not ours is dropped before Celery looks into it.

        What is raised from here would put the message back on its queue, again and again.
        """
        receive = super().create_task_handler(*arguments)

        def receive_ours(message: Any) -> None:
            try:
                wrong = problem(message.headers, message.payload)
                if wrong is None:
                    receive(message)
            except _NOT_A_MESSAGE as error:
                wrong = reason(error)
            if wrong is not None:
                self._drop(message, wrong)

        return receive_ours

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, retrying until it succeeds."""
        conn = conn.ensure_connection(
            lambda error, _interval: self._note(error),
            None,
            interval_start=0.5,
            interval_step=0.5,
            interval_max=2,
            callback=maybe_shutdown,
        )
        self.first_connection_attempt = False
        return conn

    def register_with_event_loop(self, hub: Any) -> None:
        """Check regularly whether to stop."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(_LOOK, maybe_shutdown)

    def on_ready(self) -> None:
        """Report that the broker is available."""
        super().on_ready()
        self._note(None)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Report that the broker is unavailable."""
        self._pause(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Report that the broker is unavailable."""
        if not isinstance(exc, _NotAMessageError):
            self._pause(exc)
        super().on_connection_error_after_connected(exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop a message that is not JSON."""
        self._drop(message, str(exc))

    def _drop(self, message: Any, why: str) -> None:
        _log.warning("dropped a message: %.*s: %.*r", _SHOWN, why, _SHOWN, message.body)
        message.ack_log_error(_log, self.connection_errors)

    def _pause(self, error: Exception) -> None:
        """Report that the broker is unavailable, and wait: it may take connections and refuse commands."""
        self._note(error)
        time.sleep(_RETRY)

    def _note(self, error: Exception | None) -> None:
        """Record whether the broker is available; log each change once."""
        connected, before = error is None, self.connected
        self.connected = connected
        if connected == before:
            return
        name = label(self.conninfo.as_uri())
        if error is not None:
            _log.warning("%s is unavailable (%s): polling the database", name, reason(error))
        elif before is None:
            _log.info("receiving messages from %s", name)
        else:
            _log.info("%s is available again", name)
