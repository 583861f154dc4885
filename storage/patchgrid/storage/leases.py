"""Leases: how a worker gets a chunk, keeps it, and hands in its results exactly once.

A claim raises the chunk's `epoch`; everything a worker does later names that epoch, so a worker that lost its
lease cannot change anything. Times are the database's.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from patchgrid.engine.types import Pair
from patchgrid.storage.writing import ChunkResult

#: A chunk is given up when this many attempts have failed, or have lost their worker.
MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to compute one chunk until the lease runs out."""

    #: The chunk.
    chunk_id: int
    #: Its job.
    job_id: int
    #: Number of this claim; a later claim has a higher one.
    epoch: int
    #: Attempts so far, this one included.
    attempts: int
    #: Index of the chunk's first pair.
    first: int
    #: Index after the chunk's last pair.
    last: int
    #: Who holds it.
    worker: str


def claim(
    session: Session, worker: str, *, job_id: int | None = None, lease_seconds: float = 60
) -> Lease | None:
    """Take the next chunk: by priority, then job, then chunk. None: there is nothing to take *now*.

    Chunks whose lease ran out are taken too; one that lost its workers `MAX_ATTEMPTS` times is given up
    instead.
    """
    raise NotImplementedError


def next_claim_in(session: Session, job_id: int | None = None) -> float | None:
    """Give the seconds until a chunk may be claimed (0: now), or None if none is left to claim or leased."""
    raise NotImplementedError


def chunk_pairs(session: Session, lease: Lease) -> list[Pair]:
    """Give the chunk's pairs, in order: pair `lease.first + i` is entry i."""
    raise NotImplementedError


def extend(session: Session, lease: Lease, seconds: float = 60) -> bool:
    """Make the lease run out `seconds` from now; False if it is no longer held."""
    raise NotImplementedError


def release(session: Session, lease: Lease) -> bool:
    """Hand the chunk back undone, the attempt not counted; False if the lease is no longer held."""
    raise NotImplementedError


def finish(session: Session, lease: Lease, result: ChunkResult) -> bool:
    """Write a chunk's results and close it, and its job if it was the last; False, nothing written, if fenced off."""
    raise NotImplementedError


def fail(session: Session, lease: Lease, error: str, *, retry_in: float = 0) -> bool:
    """Hand in a failed attempt, to be tried again in `retry_in` seconds; False if the lease is no longer
    held.

    After `MAX_ATTEMPTS` the chunk is given up: its pairs become error rows and the rest of the job completes.
    """
    raise NotImplementedError


def release_dead(session: Session, alive: Callable[[str], bool], job_id: int | None = None) -> int:
    """Free the chunks leased to workers that are not `alive`, without counting the attempt; give their number."""
    raise NotImplementedError
