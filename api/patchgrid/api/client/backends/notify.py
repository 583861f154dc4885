"""Notifying workers of a stored job."""

from collections.abc import Callable


def notify_workers(broker: str | None, job_id: int, say: Callable[[str], None]) -> None:
    """Wake idle workers through the broker; if it is unavailable, only warn."""
    if broker is None:
        say("No broker (--broker): workers find the job at their next poll")
        return
    from patchgrid.workers.broker.notify import notify
    from patchgrid.workers.errors import BrokerUnavailable

    try:
        notify(broker, job_id)
    except BrokerUnavailable as error:
        say(f"Warning: {error}; the job is stored; workers find it at their next poll")
