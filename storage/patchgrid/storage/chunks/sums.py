"""Sums over pairs as blobs: one a chunk, site, kind and method, and one for a whole finished job."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.estimates import Sums
from patchgrid.estimates.group_sums import GroupSums
from patchgrid.estimates.sums import CELL_SUMS, CROSSED, LATER_SUMS, SCORE_SUMS
from patchgrid.storage import tables
from patchgrid.storage.chunks.compact import (
    FROM,
    add_compact,
    expand_compact,
    groups_of,
    is_compact,
    pack_compact,
)
from patchgrid.storage.db.blobs import Blob, pack, unpack
from patchgrid.storage.errors import CorruptData

#: The two kinds of sums: over all positions at once (axes `[layer(, inner)]`), and by aligned position (axes
#: `[layer, position(, inner)]`). The inner axis is a site's heads or neurons; edges have their number in
#: place of a layer.
KINDS = ("whole", "aligned")

#: The sums of a blob: of scores alone, of scores and cells, and as they were before there were later rounds.
#: Of a job's further methods products with the scores by earlier ones follow.
_KNOWN = (
    SCORE_SUMS,
    SCORE_SUMS + CELL_SUMS,
    SCORE_SUMS + tuple(name for name in CELL_SUMS if name not in LATER_SUMS),
)
#: Blobs read at a time: bounds the memory that adding up a large job takes.
_BATCH = 64


def pack_sums(sums: Sums) -> bytes:
    """Return the blob of some sums."""
    if sums.values[0].size >= FROM or sums.groups is not None:
        return pack_compact(sums)
    return pack([sums.to_array()], {"names": list(sums.names), "aligned": sums.aligned})


def read_sums(data: bytes, what: str) -> Sums:
    """Read sums from their blob; `CorruptData`, which calls them `what`, if it is damaged."""
    blob = _read(data, what)
    array = expand_compact(blob) if is_compact(blob.meta) else blob.arrays[0]
    return _as_sums(array, blob.meta, groups_of(blob))


def add_up(session: Session, job_id: int, site: str, kind: str, method: str) -> Sums | None:
    """Add up what the job's chunks have committed, in the order of the chunks; None if there is nothing."""
    table = tables.sums
    query = (
        select(table.c.chunk_id, table.c.data)
        .where(
            table.c.job_id == job_id,
            table.c.method == method,
            table.c.site == site,
            table.c.kind == kind,
        )
        .order_by(table.c.chunk_id)
        .execution_options(yield_per=_BATCH)
    )
    with session.execute(query) as rows:
        return _add_blobs(
            _read(data, f"the stored sums of job {job_id}, chunk {chunk_id}, {site}")
            for chunk_id, data in rows
        )


def _add_blobs(blobs: Iterable[Blob]) -> Sums | None:
    result: Sums | None = None
    for same in _runs(blobs):
        result = same if result is None else result + same
    return result


def _runs(blobs: Iterable[Blob]) -> Iterator[Sums]:
    """Add up blobs that follow one another and are alike, as nearly all of a job's are, in place."""
    run: _Run | None = None
    for blob in blobs:
        form = _form(blob)
        if run is not None and run.form == form:
            run.add(blob)
            continue
        if run is not None:
            yield run.sums()
        run = _Run(blob, form)
    if run is not None:
        yield run.sums()


class _Run:
    """Blobs of one form, added up in place."""

    def __init__(self, first: Blob, form: tuple[Any, ...]) -> None:
        self.form = form
        self._meta = first.meta
        self._compact = is_compact(first.meta)
        self._array = expand_compact(first) if self._compact else first.arrays[0].copy()
        self._groups = groups_of(first)

    def add(self, blob: Blob) -> None:
        if self._compact:
            add_compact(self._array, blob)
        else:
            np.add(self._array, blob.arrays[0], out=self._array)
        groups = groups_of(blob)
        if groups is not None and self._groups is not None:
            self._groups.add(groups, self._array.shape[1:])

    def sums(self) -> Sums:
        return _as_sums(self._array, self._meta, self._groups)


def _form(blob: Blob) -> tuple[Any, ...]:
    """Return what two blobs have in common whose numbers can be added as they are."""
    compact = is_compact(blob.meta)
    axes = blob.meta["axes"] if compact else blob.arrays[0].shape[1:]
    return compact, blob.meta["names"], blob.meta["aligned"], tuple(axes), "groups" in blob.meta


def _read(data: bytes, what: str) -> Blob:
    blob = unpack(data, what)
    names = tuple(blob.meta["names"])
    if tuple(name for name in names if CROSSED not in name) not in _KNOWN:
        raise CorruptData(
            f"{what} were written by another version of patchgrid: delete the job and run it again"
        )
    return blob


def _as_sums(array: NDArray[np.float64], meta: Mapping[str, Any], groups: GroupSums | None) -> Sums:
    return Sums.from_array(array, meta["names"], aligned=meta["aligned"], groups=groups)
