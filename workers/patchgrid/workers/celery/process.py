"""A worker's process: a Celery worker where there is a broker, a loop of its own where there is none."""

import logging
import os
import socket
import warnings
from collections.abc import Callable
from typing import Any

from celery import signals
from celery.exceptions import SecurityWarning
from celery.worker import state

from patchgrid.workers.broker.broker import App, make_app
from patchgrid.workers.broker.queues import queue_of
from patchgrid.workers.celery.control import add_commands
from patchgrid.workers.celery.step import MeasuringStep
from patchgrid.workers.celery.task import add_task
from patchgrid.workers.errors import CeleryFailedError
from patchgrid.workers.node.worker import Worker

_log = logging.getLogger(__name__)

_LIBRARIES = ("celery", "kombu")
#: Characters of a library's message in a log line.
_SHOWN = 200


def worker_app(
    broker: str | None, *, make: Callable[[App], Worker], remote_control: bool = False, **changes: Any
) -> App:
    """Make a worker's application; `make` makes its worker, given that."""
    app = make_app(broker, **changes)
    app.make = make
    app.remote_control = remote_control
    add_task(app)
    app.steps["worker"].add(MeasuringStep)
    add_commands()
    return app


def run(worker: Worker) -> None:
    """Run a worker as a Celery worker on its settings' broker until it ends; call it in the main thread.

    Raises what ended the worker, if it was an error, `CeleryFailedError` and `BrokerURLError`.
    """
    settings = worker.settings
    app = worker_app(
        settings.broker,
        make=lambda _app: worker,
        remote_control=settings.remote_control,
        task_queues=[queue_of(model) for model in settings.models],
        worker_hijack_root_logger=False,
    )
    signals.setup_logging.connect(_keep_logging)
    _log_plainly()
    state.should_stop = state.should_terminate = None
    celery = app.Worker(
        hostname=_node_name(worker.name), quiet=True, without_mingle=True, without_gossip=True
    )
    celery.start()
    if app.step.error is not None:
        raise app.step.error
    if celery.exitcode:
        raise CeleryFailedError


def _node_name(worker: str) -> str:
    """Name a worker as Celery does, name@host: patchgrid-4711@host, or its own name."""
    host, _, rest = worker.partition("/")
    if host == socket.gethostname() and rest:
        return f"patchgrid-{os.getpid()}@{host}"
    return f"{worker.replace('@', '-')}@{socket.gethostname()}"


def _keep_logging(**_: Any) -> None:
    """Have Celery leave logging as it is."""


class _Plain(logging.Handler):
    """Logs the libraries' warnings as one line each, without tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        expected = record.name == "celery.worker.consumer.consumer" and record.levelno < logging.CRITICAL
        if record.levelno < logging.WARNING or expected or str(record.msg).startswith("Couldn't ack"):
            return
        first = record.getMessage().strip().splitlines()[:1]
        _log.warning("Celery: %.*s", _SHOWN, "".join(first))


def _log_plainly() -> None:
    """Replace the handlers of Celery's and kombu's loggers (never the root logger), once."""
    # Celery warns of pickle and root; we read JSON alone.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, _Plain) for handler in logger.handlers):
            logger.addHandler(_Plain())
            logger.propagate = False
