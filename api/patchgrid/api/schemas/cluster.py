"""Workers, queues and models, and what a client may do."""

from typing import Literal

from pydantic import BaseModel

from patchgrid.storage.queue.metrics import ModelQueue
from patchgrid.storage.queue.workers import WorkerRecord


class Workers(BaseModel):
    """The workers of the last day."""

    items: list[WorkerRecord]


class Queue(BaseModel):
    """The queue, by model."""

    items: list[ModelQueue]


class Model(BaseModel):
    """A model that jobs may use."""

    model: str
    revision: str | None
    serving: int


class Models(BaseModel):
    """A model that jobs can be submitted for."""

    items: list[Model]


class Limits(BaseModel):
    """How much a client may send."""

    upload_bytes: int
    pairs: int
    open_jobs: int
    priority: int | None
    bytes: int | None
    requests_per_second: float


class Access(BaseModel):
    """What this client may do."""

    open: bool
    token: str | None
    scopes: list[str]
    version: str
    limits: Limits


class Health(BaseModel):
    """The server and its database answer."""

    status: Literal["ok"]
    database: Literal["sqlite", "postgresql"]
    version: str
