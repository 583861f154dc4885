"""Sums over pairs as blobs: one a chunk, site and kind, and one for a whole finished job."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.estimates import Sums
from patchgrid.estimates.sums import CELL_SUMS, SCORE_SUMS
from patchgrid.storage import tables
from patchgrid.storage.blobs import pack, unpack
from patchgrid.storage.errors import CorruptData

#: The two kinds of sums: over all positions at once (axes `[layer(, head)]`), and by aligned position (axes
#: `[layer, position(, head)]`).
KINDS = ("whole", "aligned")

#: Blobs read at a time: bounds the memory that adding up a large job takes.
_BATCH = 64


def pack_sums(sums: Sums) -> bytes:
    """Give the blob of some sums."""
    return pack([sums.to_array()], {"names": list(sums.names), "aligned": sums.aligned})


def read_sums(data: bytes, what: str) -> Sums:
    """Read sums from their blob; `CorruptData`, which calls them `what`, if it is damaged."""
    blob = unpack(data, what)
    _check_names(blob.meta, what)
    return _as_sums(blob.arrays[0], blob.meta)


def add_up(session: Session, job_id: int, site: str, kind: str) -> Sums | None:
    """Add up what the job's chunks have committed, in the order of the chunks; None if there is nothing."""
    table = tables.sums
    query = (
        select(table.c.chunk_id, table.c.data)
        .where(table.c.job_id == job_id, table.c.site == site, table.c.kind == kind)
        .order_by(table.c.chunk_id)
        .execution_options(yield_per=_BATCH)
    )
    result: Sums | None = None
    run: tuple[NDArray[np.float64], Mapping[str, Any]] | None = None
    with session.execute(query) as rows:
        for chunk_id, data in rows:
            what = f"the stored sums of job {job_id}, chunk {chunk_id}, {site}"
            blob = unpack(data, what)
            _check_names(blob.meta, what)
            array = blob.arrays[0]
            # Nearly all chunks have the same sums of the same shape: those are added as plain arrays.
            if run is not None and (run[1] == blob.meta and run[0].shape == array.shape):
                np.add(run[0], array, out=run[0])
            else:
                result = _joined(result, run)
                run = (array.copy(), blob.meta)
    return _joined(result, run)


def _joined(result: Sums | None, run: tuple[NDArray[np.float64], Mapping[str, Any]] | None) -> Sums | None:
    if run is None:
        return result
    part = _as_sums(*run)
    return part if result is None else result + part


def _check_names(meta: Mapping[str, Any], what: str) -> None:
    if tuple(meta["names"]) not in (SCORE_SUMS, SCORE_SUMS + CELL_SUMS):
        raise CorruptData(f"{what} were made by another version of patchgrid: delete and repeat the job")


def _as_sums(array: NDArray[np.float64], meta: Mapping[str, Any]) -> Sums:
    return Sums.from_array(array, meta["names"], aligned=meta["aligned"])
