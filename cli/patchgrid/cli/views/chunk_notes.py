"""Chunk counts as text."""

from patchgrid.storage.jobs.chunk_notes import Troubles, chunk_counts
from patchgrid.storage.jobs.progress import Progress


def chunk_words(progress: Progress) -> str:
    """Write the counts: `12 done, 3 leased, 40 pending`."""
    counts = [f"{count:,} {name}" for name, count in chunk_counts(progress).items() if count]
    return ", ".join(counts)


def trouble_words(bad: Troubles) -> str | None:
    """Describe how often chunks were retried or split; None if never."""
    parts = [f"{bad.retried:,} retried"] if bad.retried else []
    if bad.split:
        parts.append(f"{bad.split:,} split to find a pair that kills its worker")
    return ", ".join(parts) or None
