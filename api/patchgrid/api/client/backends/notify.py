"""Asking workers to work on a stored job."""

from collections.abc import Callable
from functools import partial

from patchgrid.core.errors import PatchgridError
from patchgrid.storage.db.database import Database
from patchgrid.storage.queue.metrics import CountMessages


def notify_workers(database: Database, broker: str | None, job_id: int, say: Callable[[str], None]) -> None:
    """Send the messages of a stored job's chunks to the broker; if that fails, only warn."""
    if broker is None:
        say("No broker (--broker): workers find the job at their next poll")
        return
    from patchgrid.workers.broker.messages import send_waiting

    try:
        send_waiting(database, broker, job_id)
    except PatchgridError as error:
        say(f"Warning: {error}; the job is stored; workers find it at their next poll")


def message_counter(broker: str | None) -> CountMessages | None:
    """Return a function that counts the messages on the queues of models; None without a broker."""
    if broker is None:
        return None
    from patchgrid.workers.broker.messages import count

    return partial(count, broker)
