"""Patched copies, and which of them run together: from which block on, and from which position on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from patchgrid.core.errors import ComponentError
from patchgrid.core.sites import SITES, Point
from patchgrid.core.types import Component
from patchgrid.engine.runs.batches import Batch


@dataclass(frozen=True, slots=True)
class Copy:
    """One patched copy of one pair of a batch."""

    #: Place of the pair in the batch.
    pair: int
    component: Component
    #: The base run's own activation, nudged in its last place, is put in: what comes of it is rounding.
    rounding: bool = False

    @property
    def start(self) -> int:
        """The first block that has to run."""
        return self.component.layer + (self._point == Point.OUTPUT)

    @property
    def within(self) -> bool:
        """Whether the patch lies behind that block's attention, and leaves it as it is."""
        return Point.HEADS <= self._point <= Point.MLP

    @property
    def _point(self) -> Point:
        return SITES[self.component.site].point


@dataclass(frozen=True, slots=True)
class Group:
    """Copies that run in one forward pass."""

    #: The first block that runs.
    start: int
    #: The patches lie behind that block's attention.
    within: bool
    #: Padded position from which on the copies run.
    begin: int
    #: Places in the list of copies.
    places: tuple[int, ...]


def patched_positions(batch: Batch, copies: Sequence[Copy]) -> Tensor:
    """bool `[copy, position]`, true where a copy is patched and its pair's two runs can differ.

    `ComponentError` for a position that a pair does not have.
    """
    where = torch.zeros(len(copies), batch.width, dtype=torch.bool)
    for place, copy in enumerate(copies):
        begin = batch.starts[copy.pair]
        position = copy.component.position
        if position is None:
            where[place, begin:] = True
            continue
        wanted = (position,) if isinstance(position, int) else position
        padded = [_padded(batch, copy, each) for each in wanted]
        where[place, [each for each in padded if each >= begin]] = True
    return where


def groups(
    batch: Batch, copies: Sequence[Copy], where: Tensor, n_layers: int, tokens: int, *, cut_short: bool
) -> Iterator[Group]:
    """Group the copies whose patch can change anything, limited in padded tokens per group.

    Parameters
    ----------
    cut_short
        Copies start at their own first patched position, else all at the first of the batch.
    """
    reached = _reached(copies, where, n_layers)
    begins = where.int().argmax(1).tolist()
    for place, copy in enumerate(copies):
        if _last_position_only(copy, n_layers):
            begins[place] = batch.width - 1
        if not cut_short:
            begins[place] = 0

    def together(place: int) -> tuple[int, bool]:
        return copies[place].start, copies[place].within

    ordered = sorted(reached, key=lambda place: (*together(place), begins[place]))
    for (start, within), members in groupby(ordered, together):
        places = list(members)
        while places:
            begin = begins[places[0]]
            size = max(1, tokens // (batch.width - begin))
            yield Group(start, within, begin, tuple(places[:size]))
            places = places[size:]


def _reached(copies: Sequence[Copy], where: Tensor, n_layers: int) -> list[int]:
    """List the copies whose patch reaches the metric: in the last block, only the last position's does."""
    anywhere, at_last = where.any(1).tolist(), where[:, -1].tolist()
    return [
        place
        for place, copy in enumerate(copies)
        if (at_last if _last_position_only(copy, n_layers) else anywhere)[place]
    ]


def _last_position_only(copy: Copy, n_layers: int) -> bool:
    return copy.start + copy.within >= n_layers


def _padded(batch: Batch, copy: Copy, position: int) -> int:
    padding = batch.padding(copy.pair)
    length = batch.width - padding
    if not -length <= position < length:
        raise ComponentError(
            f"{copy.component.name}: the pair has {length} tokens, positions 0 to {length - 1}"
        )
    return padding + position if position >= 0 else batch.width + position
