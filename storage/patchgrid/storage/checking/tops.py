"""The rows of each pair's largest components, beside its stored scores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row

from patchgrid.storage.chunks.naming import Place, place_of_row
from patchgrid.storage.chunks.rows import TOP, TOP_WIDE

#: Relative difference of scores that were summed in another order, in float32.
_CLOSE = 1e-5


def top_problems(
    rows: Sequence[Row[Any]],
    pairs: Sequence[int],
    stored: Mapping[str, NDArray[Any]],
    narrow: Sequence[str],
    wide: Sequence[str],
    index_of: Callable[[Place], Sequence[int]],
) -> Iterator[str]:
    """Say what is wrong with the top components of pairs; `stored` are scores `[pair, *axes]` by site."""
    by_pair: dict[int, list[Row[Any]]] = {}
    for row in rows:
        by_pair.setdefault(row.pair_index, []).append(row)
    for index in by_pair.keys() - set(pairs):
        yield f"pair {index}: unexpected top components"
    for place, index in enumerate(pairs):
        mine = by_pair.get(index, [])
        sizes = [abs(row.score) for row in mine]
        if [row.rank for row in mine] != list(range(1, len(mine) + 1)) or sizes != sorted(
            sizes, reverse=True
        ):
            yield f"pair {index}: top components are out of order"
        for sites, most in ((narrow, TOP), *(([site], TOP_WIDE) for site in wide)):
            if all(site in stored for site in sites) and sites:
                own = [row for row in mine if row.site in sites]
                if not _are_largest(own, {site: stored[site][place] for site in sites}, most, index_of):
                    yield f"pair {index}: top components do not match its scores"


def _are_largest(
    rows: Sequence[Row[Any]],
    scores: Mapping[str, NDArray[Any]],
    most: int,
    index_of: Callable[[Place], Sequence[int]],
) -> bool:
    flat = np.concatenate([np.abs(values).ravel() for values in scores.values()])
    count = min(most, flat.size)
    if len(rows) != count:
        return False
    largest = np.sort(flat)[::-1][:count]
    slack = _CLOSE * float(largest[0]) if count else 0.0
    for row, size in zip(rows, largest.tolist(), strict=True):
        there = scores[row.site][tuple(index_of(place_of_row(row)))]
        if abs(float(there) - row.score) > slack or abs(abs(row.score) - size) > slack:
            return False
    places = {(row.site, place_of_row(row)) for row in rows}
    return len(places) == len(rows)
