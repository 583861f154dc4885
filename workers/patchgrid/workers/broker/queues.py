"""The queue of each model on the broker."""

from kombu import Exchange, Queue

from patchgrid.core.queue_name import queue_name


def queue_of(model: str) -> Queue:
    """Return a model's queue, as senders and workers declare it."""
    name = queue_name(model)
    return Queue(name, Exchange("", type="direct"), routing_key=name)
