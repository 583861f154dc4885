"""The server's settings: read from options once, then passed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AllowedModel:
    """A model that jobs may use."""

    #: Hub id, or a folder as workers see it.
    model: str
    #: The allowed revision; None: the default one.
    revision: str | None = None

    @classmethod
    def read(cls, text: str) -> "AllowedModel":
        """Read `MODEL` or `MODEL@REVISION`."""
        model, at, revision = text.rpartition("@")
        return cls(model, revision) if at and model and revision else cls(text)

    def __str__(self) -> str:
        return self.model if self.revision is None else f"{self.model}@{self.revision}"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of the server."""

    #: Broker to which messages for new jobs are sent; None: workers poll.
    broker: str | None = None
    #: Allowed models; none: those that workers served within the last day.
    models: tuple[AllowedModel, ...] = ()
    #: Largest upload, in bytes.
    upload_bytes: int = 2 * 10**9
    #: Most pairs per job.
    pairs: int = 2_000_000
    #: Most unfinished jobs per token.
    open_jobs: int = 100
    #: Highest priority for tokens without their own limit, except admins'.
    max_priority: int = 0
    #: Requests per second per token (per address without tokens).
    requests_per_second: float = 100.0
    #: Concurrent uploads, and exports; more get 503.
    uploads: int = 8
    #: Seconds that an upload waits for a slot, unread.
    upload_waits: float = 20.0
    exports: int = 4
    #: Lowest read rate of an export in bytes per second, over half a minute; 0: no limit.
    export_bytes_per_second: float = 10_000.0
    #: Concurrent event streams.
    streams: int = 1000
    #: Seconds between reads of a followed job.
    look_every: float = 1.0
    #: Whether it is open while no tokens exist: only if it accepts only this machine.
    may_be_open: bool = True
