"""What a server may do: read from options once, then passed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AllowedModel:
    """A model that may be asked for."""

    #: Hub id, or a folder as workers see it.
    model: str
    #: The one revision that may be asked for; None: the default one.
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
    """What holds for the whole server."""

    #: Where bells are rung for new jobs; None: workers look by themselves.
    broker: str | None = None
    #: Models that may be asked for; none: those that workers served within the last day.
    models: tuple[AllowedModel, ...] = ()
    #: Bytes of an upload.
    upload_bytes: int = 2 * 10**9
    #: Pairs of a job.
    pairs: int = 2_000_000
    #: Jobs of one token that are not ended.
    open_jobs: int = 100
    #: Highest priority of the jobs of tokens that have no limit of their own and are not admins'.
    max_priority: int = 0
    #: Requests a second of one token (of one address, without tokens), over some seconds.
    requests_per_second: float = 100.0
    #: Uploads, and exports, at a time; more are told to come back.
    uploads: int = 8
    #: Seconds that an upload waits for its turn, its bytes unread.
    upload_waits: float = 20.0
    exports: int = 4
    #: Bytes a second that a client has to read of an export, over half a minute; 0: any number.
    export_bytes_per_second: float = 10_000.0
    #: Event streams at a time.
    streams: int = 1000
    #: Seconds between two looks at a job that someone follows.
    look_every: float = 1.0
    #: Whether it is open while there are no tokens: only where it is reached from its own machine alone.
    may_be_open: bool = True
