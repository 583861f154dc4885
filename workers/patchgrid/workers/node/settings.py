"""A worker's settings: read once at start, and passed on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """A worker's settings."""

    #: Models it serves: hub ids or local folders, as jobs name them.
    models: tuple[str, ...]
    #: `auto` (a GPU if available), `cpu`, `cuda:0`.
    device: str = "auto"
    #: Padded tokens per batch, or None: auto-tuned.
    batch_tokens: int | None = None
    #: URL of the broker with the queues of the models, or None: the worker only polls the database.
    broker: str | None = None
    #: Seconds between polls of the database while idle.
    poll: float = 5.0
    #: Seconds for which one message lets it work, if there is a broker.
    slice: float = 30.0
    #: Lease duration in seconds.
    lease_seconds: float = 60.0
    #: Seconds to finish the current chunk after a stop signal.
    grace: float = 25.0
    #: Chunks after which it exits, or None.
    max_chunks: int | None = None
    #: Idle seconds after which it exits, or None.
    idle_exit: float | None = None
    #: Timeout of a batch in seconds; a worker that exceeds it exits.
    watchdog: float = 900.0
    #: Accept all of Celery's remote control, including `shutdown`; otherwise only inspect and `drain`.
    remote_control: bool = False
    #: Bytes of device memory for models, or None: most of it.
    memory_limit: int | None = None
