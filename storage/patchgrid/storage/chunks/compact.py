"""Sums of very many components, or by group, with what they have in common written once.

Of such a site a chunk patches few components exactly, so that the sums over its sampled cells are nearly all
0; and that many pairs have a component is the same for all. Nothing is rounded.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.estimates import Sums
from patchgrid.estimates.group_sums import GroupSums
from patchgrid.estimates.sums import SCORE_SUMS
from patchgrid.storage.chunks.grouped import pack_groups, read_groups
from patchgrid.storage.db.blobs import Blob, pack

#: Components from which on sums are written this way.
FROM = 4096
#: Sums of these places are over all pairs; what follows is over sampled cells.
_OVER_PAIRS = len(SCORE_SUMS) + 1


def pack_compact(sums: Sums) -> bytes:
    """Return the blob of sums.

    Its arrays: the values of the sums that are the same for all components; those of the others that are over
    all pairs; the components with sampled cells, by number; the sums over the cells of these; those of
    `pack_groups`, if there are any.
    """
    rows = sums.to_array().reshape(len(sums.values), -1)
    of_pairs, of_cells = rows[:_OVER_PAIRS], rows[_OVER_PAIRS:]
    same = [number for number, row in enumerate(of_pairs) if np.ptp(row) == 0]
    others = [number for number in range(len(of_pairs)) if number not in same]
    sampled = np.flatnonzero(of_cells.any(axis=0))
    arrays = [of_pairs[same, 0], of_pairs[others].ravel(), sampled.astype(np.float64)]
    meta = {"names": list(sums.names), "aligned": sums.aligned, "axes": list(sums.axes), "same": same}
    arrays.append(of_cells[:, sampled].ravel())
    if sums.groups is not None:
        by_group, meta["groups"] = pack_groups(sums.groups, sums.axes)
        arrays += by_group
    return pack(arrays, meta)


def is_compact(meta: Mapping[str, Any]) -> bool:
    """Return whether a blob of sums was written by `pack_compact`."""
    return "same" in meta


def add_compact(values: NDArray[np.float64], blob: Blob) -> None:
    """Add a blob's sums to `[sum, *axes]`, whose axes are the blob's."""
    rows = values.reshape(len(values), -1)
    same = blob.meta["same"]
    others = [number for number in range(min(_OVER_PAIRS, len(rows))) if number not in same]
    constants, of_pairs, sampled, of_cells, *_ = blob.arrays
    rows[same] += constants[:, None]
    rows[others] += of_pairs.reshape(len(others), rows.shape[1])
    if len(rows) > _OVER_PAIRS:
        at = sampled.astype(np.intp)
        rows[_OVER_PAIRS:, at] += of_cells.reshape(len(rows) - _OVER_PAIRS, len(at))


def groups_of(blob: Blob) -> GroupSums | None:
    """Return a blob's sums of groups, None if it has none."""
    if "groups" not in blob.meta:
        return None
    return read_groups(blob.arrays[4:], blob.meta["groups"], blob.meta["axes"])


def expand_compact(blob: Blob) -> NDArray[np.float64]:
    """Return a blob's sums as an array `[sum, *axes]`, in the order of its names."""
    values = np.zeros((len(blob.meta["names"]), *blob.meta["axes"]))
    add_compact(values, blob)
    return values
