"""Patched copies, and which of them run together: from which block on, and from which position on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

import torch
from torch import Tensor

from patchgrid.core.component_sets import Part, Patched, parts_of
from patchgrid.core.errors import ComponentError
from patchgrid.core.sites import SITES, Point
from patchgrid.core.types import Component
from patchgrid.engine.runs.batches import Batch


@dataclass(frozen=True, slots=True)
class Copy:
    """One patched copy of one pair of a batch."""

    #: Place of the pair in the batch.
    pair: int
    #: A component, or several that are patched together.
    patched: Patched
    #: The base run's own activation, nudged in its last place, is put in: what comes of it is rounding.
    rounding: bool = False
    #: What is patched, in parts of one site, layer and position.
    parts: tuple[Part, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", parts_of(self.patched))


@dataclass(frozen=True, slots=True)
class Group:
    """Copies that run in one forward pass."""

    #: The first block that runs.
    start: int
    #: In that block, all patches lie behind attention, and leave it as it is.
    within: bool
    #: Padded position from which on the copies run.
    begin: int
    #: Places in the list of copies.
    places: tuple[int, ...]


def patched_positions(batch: Batch, copies: Sequence[Copy]) -> Tensor:
    """bool `[part, position]`, true where a part is patched and its pair's two runs can differ.

    The parts are those of the first copy, then those of the second, and so on. `ComponentError` for a
    position that a pair does not have.
    """
    parts = [(copy, part) for copy in copies for part in copy.parts]
    where = torch.zeros(len(parts), batch.width, dtype=torch.bool)
    for row, (copy, part) in enumerate(parts):
        begin = batch.starts[copy.pair]
        if part.position is None:
            where[row, begin:] = True
            continue
        wanted = (part.position,) if isinstance(part.position, int) else part.position
        padded = [_padded(batch, copy, part, each) for each in wanted]
        where[row, [each for each in padded if each >= begin]] = True
    return where


def rows_of_parts(copies: Sequence[Copy]) -> list[range]:
    """Return each copy's rows of `patched_positions`."""
    ends = [0]
    for copy in copies:
        ends.append(ends[-1] + len(copy.parts))
    return [range(begin, end) for begin, end in pairwise(ends)]


def groups(
    batch: Batch, copies: Sequence[Copy], where: Tensor, n_layers: int, tokens: int, *, cut_short: bool
) -> Iterator[Group]:
    """Group the copies whose patch can change anything, limited in padded tokens per group.

    Parameters
    ----------
    where
        bool `[part, position]`: see `patched_positions`.
    cut_short
        Copies start at their own first patched position, else all at the first of the batch.
    """
    begins = _begins(copies, where, n_layers)
    starts = {
        place: start
        for place, (copy, rows) in enumerate(zip(copies, rows_of_parts(copies), strict=True))
        if (start := _start(copy.parts, [begins[row] for row in rows])) is not None
    }
    ordered = sorted(starts, key=starts.__getitem__)
    for (first_block, within), members in groupby(ordered, lambda place: starts[place][:2]):
        places = list(members)
        while places:
            begin = starts[places[0]][2] if cut_short else 0
            size = max(1, tokens // (batch.width - begin))
            yield Group(first_block, within, begin, tuple(places[:size]))
            places = places[size:]


def _begins(copies: Sequence[Copy], where: Tensor, n_layers: int) -> list[int | None]:
    """Return the first position at which each part changes what the metric reads; None: nowhere.

    In the last block, behind its keys and values, only the last position's patch does.
    """
    anywhere, at_last = where.any(1).tolist(), where[:, -1].tolist()
    firsts = where.int().argmax(1).tolist()
    last, rows = where.shape[1] - 1, range(len(where))
    parts = (part for copy in copies for part in copy.parts)
    return [
        (last if at_last[row] else None)
        if _first_block(part) + _lies_within(part) >= n_layers
        else (firsts[row] if anywhere[row] else None)
        for row, part in zip(rows, parts, strict=True)
    ]


def _start(parts: Sequence[Part], begins: Sequence[int | None]) -> tuple[int, bool, int] | None:
    """Return the first block that runs, `Group.within` and the first position; None: nothing changes."""
    reached = [(part, begin) for part, begin in zip(parts, begins, strict=True) if begin is not None]
    if not reached:
        return None
    start = min(_first_block(part) for part, _ in reached)
    within = all(_lies_within(part) for part, _ in reached if _first_block(part) == start)
    return start, within, min(begin for _, begin in reached)


def _first_block(part: Part) -> int:
    """Return the first block that has to run on a patch."""
    return part.layer + (SITES[part.site].point == Point.OUTPUT)


def _lies_within(part: Part) -> bool:
    """Tell whether a patch lies behind its block's attention, and leaves it as it is."""
    return Point.HEADS <= SITES[part.site].point <= Point.MLP


def _padded(batch: Batch, copy: Copy, part: Part, position: int) -> int:
    padding = batch.padding(copy.pair)
    length = batch.width - padding
    if not -length <= position < length:
        name = (copy.patched if isinstance(copy.patched, Component) else part.ends()[0]).name
        raise ComponentError(f"{name}: the pair has {length} tokens, positions 0 to {length - 1}")
    return padding + position if position >= 0 else batch.width + position
