"""The sample of chunks of a partial check."""

import hashlib
import heapq
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.storage.errors import StorageError
from patchgrid.storage.tables import chunk

#: Places that there are.
ALL = 2**64


class SampleRefused(StorageError, ValueError):  # noqa: N818 (named for what happened)
    """An invalid share or number of chunks."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A share or number of chunks, selected by the seed."""

    share: float | None = None
    count: int | None = None
    seed: int = 0

    @classmethod
    def read(cls, text: str, seed: int = 0) -> "Sample":
        """Read `0.01`, a share, or `500`, a number of chunks."""
        try:
            if text.strip().isdigit() and int(text) >= 1:
                return cls(count=int(text), seed=seed)
            share = float(text)
        except ValueError:
            share = -1.0
        if not 0 < share < 1:
            raise SampleRefused(
                f"invalid sample {text!r}: give a share of the chunks (0.01) or a number of them (500)"
            )
        return cls(share=share, seed=seed)


def bound(session: Session, sample: Sample | None) -> int:
    """Return the bound below which the `place` of the chunks lies that are looked at."""
    if sample is None:
        return ALL
    if sample.share is not None:
        return int(sample.share * ALL)
    with session.execute(select(chunk.c.id).execution_options(yield_per=10_000)) as rows:
        places = heapq.nsmallest(sample.count or 1, (place(row.id, sample.seed) for row in rows))
    return places[-1] + 1 if places else 0


def place(chunk_id: int, seed: int) -> int:
    """Return a chunk's place in a random order, from 0 to 2^64 - 1."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {chunk_id}".encode(), digest_size=8).digest())
