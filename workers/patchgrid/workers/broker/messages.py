"""Messages: each is permission to work on a model's queue for a while, and nothing else.

What is measured, and in which order, stays in the database. A message that is lost, repeated, late or forged
only changes when a worker looks.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from patchgrid.core.queue_name import queue_name
from patchgrid.storage.db.database import Database
from patchgrid.storage.queue import leases
from patchgrid.workers.errors import BrokerUnavailable

#: The only task.
TASK = "patchgrid.work"
#: Messages on a model's queue, at most; one that leaves work behind sends its successor.
MOST = 64
#: Headers of Celery's that change when a task runs.
_UNSUPPORTED = ("eta", "expires", "timelimit", "group", "shadow")


def send(broker: str, model: str, chunks: int) -> None:
    """Ask for work on a model of which so many chunks wait: a message a chunk, until its queue has `MOST`.

    Raises `BrokerUnavailable` if the broker does not answer within about two seconds.
    """
    with _connected(broker) as (app, connection), app.amqp.Producer(connection) as producer:
        send_through(app, producer, model, chunks)


def send_waiting(database: Database, broker: str, job_id: int) -> None:
    """Ask for work on a stored job's chunks that wait, if any do; raises as `send`, and as reading does."""
    with database.read() as session:
        waiting = leases.waiting(session, job_id)
    if waiting is not None:
        send(broker, *waiting)


def send_through(app: Any, producer: Any, model: str, chunks: int) -> None:
    """Send the same through an application and its producer; raises what the broker's library raises."""
    free = MOST - _count(producer.connection, queue_name(model))
    for _ in range(min(chunks, free)):
        app.send_task(TASK, kwargs={"model": model}, retry=False, ignore_result=True, producer=producer)


def count(broker: str, models: Iterable[str]) -> dict[str, int]:
    """Count the messages that wait on each model's queue; raises `BrokerUnavailable`."""
    with _connected(broker) as (_, connection):
        return {model: _count(connection, queue_name(model)) for model in models}


def problem(headers: Any, content: Any) -> str | None:
    """Return why a message with these headers and this content is not one of ours; None: it is.

    Celery's other options of a task (a time to start or expire, callbacks, chords) are not supported.
    """
    if not isinstance(headers, dict) or "task" not in headers:
        return "not a Celery task"
    if headers["task"] != TASK:
        return f"unknown task {headers['task']!r}"
    if not isinstance(headers.get("id"), str):
        return f"no task id: {headers.get('id')!r}"
    for name, value in headers.items():
        unused = value in (None, [], {}, [None, None])
        if not unused and (name in _UNSUPPORTED or not isinstance(value, str | int)):
            return f"option {name} is not supported"
    match content:
        case [[], {"model": str()} as arguments, dict() as options] if len(arguments) == 1:
            return "callbacks are not supported" if any(options.values()) else None
    return "its only argument must be a model"


def reason(error: BaseException) -> str:
    """Return the first line of an error."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def _connected(broker: str) -> Iterator[tuple[Any, Any]]:
    """Yield an application and its connection."""
    from kombu.exceptions import KombuError

    from patchgrid.workers.broker import broker as brokers

    app = brokers.make_app(broker)
    with app.connection_for_write(transport_options={"max_retries": 0}) as connection:
        errors = (*connection.connection_errors, *connection.channel_errors, KombuError, OSError)
        try:
            yield app, connection
        except errors as error:
            raise BrokerUnavailable(f"{brokers.label(broker)} is unavailable: {reason(error)}") from None


def _count(connection: Any, name: str) -> int:
    connection.default_channel  # noqa: B018 (connects, with the application's timeouts)
    with connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue=name, passive=True).message_count)
        except connection.channel_errors:  # nobody has used it yet
            return 0
