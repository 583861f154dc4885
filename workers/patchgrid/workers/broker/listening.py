"""What of Celery is used to hear bells: its consumer, told to speak plainly and to end when asked."""

import logging
from collections.abc import Callable
from typing import Any

from celery.exceptions import WorkerShutdown
from celery.worker.consumer import Consumer
from kombu.asynchronous import set_event_loop
from kombu.transport.redis import Channel, Transport

_log = logging.getLogger(__name__)

#: Seconds between looks at whether to end.
_LOOK = 0.25
#: What a garbage message is cut to in a log line.
_SHOWN = 200
_LIBRARIES = ("celery", "kombu")


#: Remote control commands that only tell something; Celery's others stop a worker, or change it.
INSPECTING = ("ping", "active", "reserved", "scheduled", "registered", "active_queues")


class Inbox(Channel):  # type: ignore[misc]
    """kombu's channel, which a deeply nested message ends; here it is dropped."""

    def _receive_one(self, connection: Any) -> Any:
        try:
            return super()._receive_one(connection)
        except RecursionError as error:
            _log.warning("dropped a message: nested too deeply (%s)", error)
            return False


class Receiver(Transport):  # type: ignore[misc]
    """kombu's transport, which ends Celery's worker at JSON that is no message; here it is dropped."""

    Channel = Inbox

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            _log.warning("dropped a message: not a Celery message (%r): %.*r", error, _SHOWN, message)


class Listener(Consumer):  # type: ignore[misc]
    """Celery's consumer, which says in plain sentences what it drops, and whether the broker is there."""

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
        """Connect, however long it takes."""

        def away(error: Exception, _interval: float) -> None:
            self._on_broker(error)
            self._look()

        conn = conn.ensure_connection(
            away, None, interval_start=0.5, interval_step=0.5, interval_max=2, callback=self._look
        )
        self.first_connection_attempt = False
        return conn

    def register_with_event_loop(self, hub: Any) -> None:
        """Look regularly at whether to end."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(_LOOK, self._look)

    def on_ready(self) -> None:
        """Say that the bells are heard from now on."""
        super().on_ready()
        self._on_broker(None)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Say that the broker is away."""
        self._on_broker(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Say that the broker is away."""
        self._on_broker(exc)
        super().on_connection_error_after_connected(exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Drop a message that is no JSON."""
        self._drop(message, str(exc))

    def on_unknown_message(self, _body: Any, message: Any) -> None:
        """Drop a message that is no task."""
        self._drop(message, "not a Celery task")

    def on_unknown_task(self, _body: Any, message: Any, exc: Exception) -> None:
        """Drop a task that is not ours."""
        self._drop(message, f"unknown task {exc}")

    def on_invalid_task(self, _body: Any, message: Any, exc: Exception) -> None:
        """Drop a task that cannot be read."""
        self._drop(message, str(exc))

    def _only_inspect(self) -> None:
        """Leave of Celery's remote control what changes nothing: whoever reaches Redis could end workers."""
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
    """Hear bells in this thread until `ended`, or until Celery gives up; signals are left alone.

    Of Celery's remote control only `INSPECTING` is answered, unless all of it is asked for.
    """

    def consumer(*args: Any, **options: Any) -> Listener:
        return Listener(*args, on_broker=on_broker, ended=ended, remote_control=remote_control, **options)

    app.reader = Receiver
    app.set_current()
    # Each listener has an event loop of its own: Celery would take one that an earlier one left behind.
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
    """Passes the libraries' warnings on as one line each, without their tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        said = record.name == "celery.worker.consumer.consumer" and record.levelno < logging.CRITICAL
        if record.levelno < logging.WARNING or said or str(record.msg).startswith("Couldn't ack"):
            return
        first = record.getMessage().strip().splitlines()[:1]
        _log.warning("the bell: %.*s", _SHOWN, "".join(first))


def speak_plainly() -> None:
    """Take the loggers of Celery and kombu over (never the root logger), once."""
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Plain) for handler in logger.handlers):
            logger.addHandler(_Plain())
            logger.propagate = False
