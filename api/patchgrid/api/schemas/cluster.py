"""Workers, queues and models, and what a client may do."""

from typing import Literal

from pydantic import BaseModel


class Worker(BaseModel):
    """A worker, as it last told of itself."""

    id: int
    name: str
    host: str
    pid: int
    device: str
    models: list[str]
    state: str
    message: str | None
    loaded: list[str]
    job_id: int | None
    chunk_id: int | None
    memory_used: int | None
    memory_total: int | None
    started_at: float
    seen_at: float
    drain: bool
    chunks: int
    pairs: int
    pairs_per_second: float | None
    lease_losses: int
    takeovers: int
    failures: dict[str, int]
    seen_ago: float
    lost: bool


class LoadFailure(BaseModel):
    """A model that a worker cannot load."""

    worker: str
    model: str
    error: str
    failed_at: float
    attempts: int


class Workers(BaseModel):
    """The workers of the last day."""

    items: list[Worker]


class ModelQueue(BaseModel):
    """The chunks of one model that are not through yet."""

    model: str
    pending: int
    leased: int
    held: int
    oldest_seconds: float | None


class Queue(BaseModel):
    """What waits, by model."""

    items: list[ModelQueue]


class Model(BaseModel):
    """A model that may be asked for."""

    model: str
    revision: str | None
    serving: int


class Models(BaseModel):
    """What may be asked for."""

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
