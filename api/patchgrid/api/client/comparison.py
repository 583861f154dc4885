"""Two jobs, or two methods of one, component by component."""

import math
from collections.abc import Iterator
from typing import Any

from patchgrid.api.client.backends.backend import Backend
from patchgrid.core.errors import SpecError
from patchgrid.core.names import POPULATION
from patchgrid.core.sites import INDEX_FIELDS, index_fields
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.components import ComponentRow

#: A backend, its job, and one of its methods (None: the first).
Side = tuple[Backend, JobRecord, str | None]
_SIDE = ("mean", "estimate", "ci_low", "ci_high")
#: The fields of a row, in order.
FIELDS = (
    *("component", "site", "layer", *INDEX_FIELDS, "position"),
    *_SIDE,
    *(f"other_{name}" for name in _SIDE),
    *("difference", "difference_low", "difference_high"),
)


def compared(
    one: Side, other: Side, *, site: str | None = None, interval: str = POPULATION
) -> list[dict[str, Any]]:
    """Return a row per component of either side, the largest |difference| first; missing ones last."""
    same = one[0] is other[0] and one[1].id == other[1].id
    if same and one[1].method(one[2]) == other[1].method(other[2]):
        raise SpecError(
            f"job {one[1].id} would be compared with itself: give another job, or method and other_method, "
            f"two of {', '.join(one[1].spec.query.method_names)}",
            "other",
        )
    kind = one[1].kind if one[1].kind == other[1].kind else "whole"
    ours, theirs = (_by_name(side, site, kind, interval) for side in (one, other))
    rows = [_row(ours.get(name), theirs.get(name), same=same) for name in ours | theirs]
    return sorted(rows, key=lambda row: -abs(row["difference"] or 0.0))


def difference_interval(
    estimate: float, ends: tuple[float, float], other: float, other_ends: tuple[float, float]
) -> tuple[float, float]:
    """Return the interval of a difference of two independent estimates from their own intervals.

    MOVER (Zou and Donner, Statistics in Medicine 27, 2008): each end is as far from the difference as the
    two ends that lead there are from their estimates, added in squares.
    """
    difference = estimate - other
    low = math.hypot(estimate - ends[0], other_ends[1] - other)
    high = math.hypot(ends[1] - estimate, other - other_ends[0])
    return difference - low, difference + high


def _by_name(side: Side, site: str | None, kind: str, interval: str) -> dict[str, ComponentRow]:
    backend, job, method = side
    rows = backend.components(job, site=site, method=method, kind=kind, interval=interval)
    return {row.name: row for row in rows}


def _row(one: ComponentRow | None, other: ComponentRow | None, *, same: bool) -> dict[str, Any]:
    place = one or other
    assert place is not None, "named by one of them"
    names = ("site", "layer", "position", "edge")
    row: dict[str, Any] = {"component": place.name} | {name: getattr(place, name) for name in names}
    row |= index_fields(place.site, place.index)
    row |= {name: getattr(one, name, None) for name in _SIDE}
    row |= {f"other_{name}": getattr(other, name, None) for name in _SIDE}
    return row | dict(zip(FIELDS[-3:], _differences(row, same=same), strict=True))


def _differences(row: dict[str, Any], *, same: bool) -> Iterator[float | None]:
    """Yield the difference, and the ends of its interval where both sides have one."""
    what = "mean" if same else "estimate"
    ours, theirs = row[what], row[f"other_{what}"]
    yield None if ours is None or theirs is None else ours - theirs
    ends = [row[f"{side}{end}"] for side in ("", "other_") for end in ("ci_low", "ci_high")]
    if same or ours is None or theirs is None or None in ends:
        yield from (None, None)
    else:
        yield from difference_interval(ours, (ends[0], ends[1]), theirs, (ends[2], ends[3]))
