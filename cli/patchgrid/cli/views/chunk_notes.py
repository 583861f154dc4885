"""A job's chunks in words."""

from patchgrid.storage.jobs.chunk_notes import Troubles, chunk_counts
from patchgrid.storage.jobs.progress import Progress


def chunk_words(progress: Progress) -> str:
    """Write the counts: `12 done, 3 leased, 40 pending`."""
    counts = [f"{count:,} {name}" for name, count in chunk_counts(progress).items() if count]
    return ", ".join(counts)


def trouble_words(bad: Troubles) -> str | None:
    """Say how often chunks had to be begun again, or None if there is nothing to say."""
    parts = [f"{bad.tried_again:,} tried again"] if bad.tried_again else []
    if bad.split_off:
        parts.append(f"{bad.split_off:,} split off to find a pair that ends its worker")
    return ", ".join(parts) or None
