"""The queue of each model on the broker."""

import hashlib
import re

from kombu import Exchange, Queue

#: What the names of our queues begin with.
PREFIX = "patchgrid."
#: Bytes of a queue's name; RabbitMQ takes 255.
_LONGEST = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9._/-]+")


def queue_name(model: str) -> str:
    """Name a model's queue: `patchgrid.<model>`.

    What shells, brokers or Celery's own options would trip over is replaced, and the name then ends with a
    hash of the model's, so that two models never share a queue.
    """
    safe = _UNSAFE.sub("-", model)[:_LONGEST]
    if safe == model:
        return PREFIX + model
    return f"{PREFIX}{safe}.{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def queue_of(model: str) -> Queue:
    """Return a model's queue, as senders and workers declare it."""
    name = queue_name(model)
    return Queue(name, Exchange("", type="direct"), routing_key=name)
