"""Replacement activations for the base run: the other prompt's, the mean, or zero."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from patchgrid.engine.runs.activations import Activations
from patchgrid.engine.runs.rows import Rows


class Replacement(Protocol):
    """Activations to put in place of the base run's, the same for every reader of them."""

    def at(
        self, site: str, layer: int, *, pairs: Tensor | None = None, positions: int | None = None
    ) -> Tensor:
        """Return a site's new activation.

        Parameters
        ----------
        pairs
            int64, places of pairs in the batch, each as often as it is wanted; None: all, in order.
        positions
            How many of the last positions; None: as many as there are. Where the last block worked for the
            last position only, there is no more than that.

        Returns
        -------
        `[pair, position, width]`.
        """


@dataclass(frozen=True, slots=True)
class OtherPrompt:
    """What each pair's own other prompt has there."""

    run: Activations
    rows: Rows

    def at(
        self, site: str, layer: int, *, pairs: Tensor | None = None, positions: int | None = None
    ) -> Tensor:
        """Return a site's activation in the source run: see `Replacement`."""
        values = self.run.at(site, layer)
        if positions is not None:
            values = values[:, -positions:]
        if pairs is None:
            return self.rows.of_pairs(values)
        rows = torch.tensor(self.rows.row_of, device=values.device)
        return values[rows[pairs.to(values.device)]]


@dataclass(frozen=True, slots=True)
class Given:
    """Activations to patch in, copy by copy: for the copies that they were made for."""

    #: By site and layer: `[copy, position, width]`, the last positions.
    values: Mapping[tuple[str, int], Tensor]

    def at(
        self, site: str, layer: int, *, pairs: Tensor | None = None, positions: int | None = None
    ) -> Tensor:
        """Return a site's activation for each copy: see `Replacement`."""
        del pairs  # the copies are the pairs'
        values = self.values[site, layer]
        return values if positions is None else values[:, -positions:]


@dataclass(frozen=True, slots=True)
class Rounding:
    """For some copies, their base run's own activation nudged in its last place; for others, what they get.

    A patch makes all that follows it round again. So does a nudge, whose effect is nothing but rounding: its
    size is that of the errors of effects: docs/precision.md has both.
    """

    others: Replacement
    base: Activations
    #: int64 `[chosen]`: the copies that this is for, and their rows of the base run.
    chosen: Tensor
    rows: Tensor

    def at(
        self, site: str, layer: int, *, pairs: Tensor | None = None, positions: int | None = None
    ) -> Tensor:
        """Return a site's activation for each copy: see `Replacement`."""
        values = self.others.at(site, layer, pairs=pairs, positions=positions)
        base = self.base.at(site, layer)[:, -values.shape[1] :]
        values = values[:, -base.shape[1] :]
        own = base[self.rows.to(base.device)].to(values.device)
        return values.index_copy(0, self.chosen.to(values.device), _nudged(own).to(values.dtype))


def _nudged(values: Tensor) -> Tensor:
    """Move each number to a neighbour of its number type, up or down, or leave it, at random."""
    step = torch.randint(-1, 2, values.shape, generator=torch.Generator().manual_seed(0)).to(values.device)
    exact = values.float()
    last_place = torch.ldexp(
        torch.full_like(exact, torch.finfo(values.dtype).eps), exact.frexp().exponent - 1
    )
    return (exact + step * last_place).to(values.dtype)


@dataclass(frozen=True, slots=True)
class Constant:
    """One vector per site and layer, the same at every position of every pair."""

    #: From a site and a layer to `[width]`.
    vector: Callable[[str, int], Tensor]
    #: Number of pairs of the batch, and of positions that are kept of it.
    pairs: int
    positions: int

    def at(
        self, site: str, layer: int, *, pairs: Tensor | None = None, positions: int | None = None
    ) -> Tensor:
        """Return a site's vector at every position: see `Replacement`."""
        count = self.pairs if pairs is None else len(pairs)
        width = self.positions if positions is None else min(positions, self.positions)
        return self.vector(site, layer).expand(count, width, -1)
