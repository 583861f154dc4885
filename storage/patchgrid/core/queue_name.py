"""The name of a model's queue on the broker."""

import hashlib
import re

#: What the names of our queues begin with.
PREFIX = "patchgrid."
#: Bytes of a model's name in it; RabbitMQ takes names of 255.
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
