"""Notifying workers of a stored job."""

from collections.abc import Callable


def notify_workers(broker: str | None, job_id: int, say: Callable[[str], None]) -> None:
    """Send idle workers a wake-up through the broker; one that is unavailable costs no more than a line."""
    if broker is None:
        say("No broker is named (--broker): workers find it when they next look, every --poll seconds")
        return
    from patchgrid.workers.broker import bell
    from patchgrid.workers.errors import BrokerUnavailable

    try:
        bell.ring(broker, job_id)
    except BrokerUnavailable as error:
        say(f"Warning: {error}; the job is stored, workers find it when they next look")
