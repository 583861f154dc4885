"""What a worker is told: read once, where it is started, and passed on."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is told."""

    #: Models it serves: hub ids or local folders, as jobs name them.
    models: tuple[str, ...]
    #: `auto` (a GPU where there is one), `cpu`, `cuda:0`.
    device: str = "auto"
    #: Padded tokens of a batch, or None: chosen by the device.
    batch_tokens: int | None = None
    #: URL of the Redis that bells come from, or None: the database alone is asked for work.
    broker: str | None = None
    #: Seconds between looks into the database when there is nothing to do and no bell rings.
    poll: float = 5.0
    #: Seconds that a chunk stays this worker's after its last heartbeat.
    lease_seconds: float = 60.0
    #: Seconds that a worker which is told to stop may take to finish its chunk.
    grace: float = 25.0
    #: Chunks after which it ends, or None.
    max_chunks: int | None = None
    #: Seconds without work after which it ends, or None.
    idle_exit: float | None = None
    #: Seconds that a batch may take; a worker whose batch takes longer hangs, and ends itself.
    watchdog: float = 900.0
    #: Obey all of Celery's remote control, `shutdown` included, not only what it may be asked.
    remote_control: bool = False
    #: Bytes of the device's memory that models may take, or None: most of it.
    memory_limit: int | None = None
