"""Sums of groups as flat arrays: a row that is the same for all components once, few numbers by their places.

In a chunk each group has few pairs, so that most of its components have no sampled cell. Nothing is rounded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.estimates.group_sums import GROUP_SUMS, GroupSums

#: Part of a row's numbers up to which those that are not 0 are written with their places.
_FEW = 0.5

_Array = NDArray[np.float64]


def pack_groups(groups: GroupSums, axes: tuple[int, ...]) -> tuple[list[_Array], dict[str, Any]]:
    """Return the arrays of sums of groups, and what a blob's header says of them.

    The arrays: the values of the rows that are constant; the other rows with many numbers; places among the
    rest, and the numbers there. A row is one sum of one group.
    """
    rows = groups.stacked(axes).reshape(len(groups.values) * len(GROUP_SUMS), -1)
    constant = np.ptp(rows, axis=1) == 0
    dense = ~constant & (np.count_nonzero(rows, axis=1) > _FEW * rows.shape[1])
    rest = rows[~constant & ~dense].ravel()
    places = np.flatnonzero(rest)
    meta = {
        "numbers": sorted(groups.values),
        "constant": np.flatnonzero(constant).tolist(),
        "dense": np.flatnonzero(dense).tolist(),
    }
    return [rows[constant, 0], rows[dense].ravel(), places.astype(np.float64), rest[places]], meta


def read_groups(arrays: Sequence[_Array], meta: Mapping[str, Any], axes: Sequence[int]) -> GroupSums:
    """Return the sums of groups that `pack_groups` wrote."""
    numbers, size = meta["numbers"], int(np.prod(axes))
    rows = np.zeros((len(numbers) * len(GROUP_SUMS), size))
    constants, dense, places, values = arrays
    rows[meta["constant"]] = constants[:, None]
    rows[meta["dense"]] = dense.reshape(-1, size)
    few = np.ones(len(rows), np.bool_)
    few[[*meta["constant"], *meta["dense"]]] = False
    rest = np.zeros(few.sum() * size)
    rest[places.astype(np.intp)] = values
    rows[few] = rest.reshape(-1, size)
    by_group = rows.reshape(len(numbers), len(GROUP_SUMS), *axes)
    return GroupSums(dict(zip(numbers, by_group, strict=True)))
