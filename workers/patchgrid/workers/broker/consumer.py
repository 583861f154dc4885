"""Celery's consumer, receiving wake-ups: it logs plain lines and stops on request."""

import logging
from collections.abc import Callable
from typing import Any

from celery.exceptions import WorkerShutdown
from celery.worker.consumer import Consumer
from kombu.asynchronous import set_event_loop
from kombu.transport.redis import Channel, Transport

_log = logging.getLogger(__name__)

#: Seconds between checks whether to stop.
_LOOK = 0.25
#: Characters of a bad message in a log line.
_SHOWN = 200
_LIBRARIES = ("celery", "kombu")


#: Remote control commands that only inspect; Celery's others stop or change a worker.
INSPECTING = ("ping", "active", "reserved", "scheduled", "registered", "active_queues")


class Inbox(Channel):  # type: ignore[misc]
    """kombu's channel, which a deeply nested message would stop; here it is dropped."""

    def _receive_one(self, connection: Any) -> Any:
        try:
            return super()._receive_one(connection)
        except RecursionError as error:
            _log.warning("dropped a message: nested too deeply (%s)", error)
            return False


class Receiver(Transport):  # type: ignore[misc]
    """kombu's transport, which JSON that is not a message would stop; here it is dropped."""

    Channel = Inbox

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            _log.warning("dropped a message: not a Celery message (%r): %.*r", error, _SHOWN, message)


class Listener(Consumer):  # type: ignore[misc]
    """Celery's consumer; logs what it drops, and reports whether the broker is available."""

    def __init__(
        self,
        *args: Any,
        on_broker: Callable[[Exception | None], None],
        ended: Callable[[], bool],
        remote_control: bool,
        **options: Any,
    ) -> None:
        self._on_broker = on_broker
        self._ended = ended
        super().__init__(*args, **options)
        if not remote_control:
            self._only_inspect()

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, retrying until it succeeds."""

        def unavailable(error: Exception, _interval: float) -> None:
            self._on_broker(error)
            self._look()

        conn = conn.ensure_connection(
            unavailable, None, interval_start=0.5, interval_step=0.5, interval_max=2, callback=self._look
        )
        self.first_connection_attempt = False
        return conn

    def register_with_event_loop(self, hub: Any) -> None:
        """Check regularly whether to stop."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(_LOOK, self._look)

    def on_ready(self) -> None:
        """Report that the broker is available."""
        super().on_ready()
        self._on_broker(None)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Report that the broker is unavailable."""
        self._on_broker(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Report that the broker is unavailable."""
        self._on_broker(exc)
        super().on_connection_error_after_connected(exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop a message that is not JSON."""
        self._drop(message, str(exc))

    def on_unknown_message(self, _body: Any, message: Any) -> None:
        """Drop a message that is not a task."""
        self._drop(message, "not a Celery task")

    def on_unknown_task(self, _body: Any, message: Any, exc: Exception) -> None:
        """Drop a task that is not ours."""
        self._drop(message, f"unknown task {exc}")

    def on_invalid_task(self, _body: Any, message: Any, exc: Exception) -> None:
        """Drop a task that cannot be read."""
        self._drop(message, str(exc))

    def _only_inspect(self) -> None:
        """Keep only the inspect commands: anyone with access to Redis could stop workers."""
        for step in self.steps:
            box = getattr(step, "box", None)
            if box is not None:
                handlers = box.node.handlers
                box.node.handlers = {name: handlers[name] for name in INSPECTING if name in handlers}

    def _look(self) -> None:
        if self._ended():
            raise WorkerShutdown(0)

    def _drop(self, message: Any, why: str) -> None:
        _log.warning("dropped a message: %s: %.*r", why, _SHOWN, message.body)
        message.ack_log_error(_log, self.connection_errors)


def listen(
    app: Any,
    name: str,
    on_broker: Callable[[Exception | None], None],
    ended: Callable[[], bool],
    *,
    remote_control: bool = False,
) -> None:
    """Receive wake-ups in this thread until `ended`, or until Celery fails; signal handlers are untouched.

    Only the remote control commands in `INSPECTING` are answered, unless `remote_control` is set.
    """

    def consumer(*args: Any, **options: Any) -> Listener:
        return Listener(*args, on_broker=on_broker, ended=ended, remote_control=remote_control, **options)

    app.reader = Receiver
    app.set_current()
    # Each listener needs its own event loop: Celery would reuse one left behind by an earlier listener.
    set_event_loop(None)
    controller = app.WorkController(
        hostname=name,
        pool_cls="solo",
        concurrency=1,
        consumer_cls=consumer,
        without_mingle=True,
        without_gossip=True,
        without_heartbeat=True,
        loglevel=logging.WARNING,
    )
    controller.start()


class _Plain(logging.Handler):
    """Logs the libraries' warnings as one line each, without tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        expected = record.name == "celery.worker.consumer.consumer" and record.levelno < logging.CRITICAL
        if record.levelno < logging.WARNING or expected or str(record.msg).startswith("Couldn't ack"):
            return
        first = record.getMessage().strip().splitlines()[:1]
        _log.warning("wake-up listener: %.*s", _SHOWN, "".join(first))


def log_plainly() -> None:
    """Replace the handlers of Celery's and kombu's loggers (never the root logger), once."""
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Plain) for handler in logger.handlers):
            logger.addHandler(_Plain())
            logger.propagate = False
