"""Whether a database is whole: `patchgrid db check`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check looked at and found."""

    #: The database's revision.
    revision: str
    #: Jobs, chunks and blobs looked at.
    jobs: int
    chunks: int
    blobs: int
    #: What is wrong, one line each; empty: all is well.
    problems: tuple[str, ...]


def check(url: str, *, timeout: float = 30) -> CheckReport:
    """Look through the whole database: its own integrity, every checksum, every count."""
    raise NotImplementedError
