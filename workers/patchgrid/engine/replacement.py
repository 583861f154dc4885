"""What is put into the base run: the activations of the pair's other prompt, their mean, or zero."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from patchgrid.engine.activations import Activations
from patchgrid.engine.rows import Rows


class Replacement(Protocol):
    """Activations to put in place of the base run's, the same for every reader of them."""

    def at(
        self, site: str, layer: int, *, pairs: Tensor | None = None, positions: int | None = None
    ) -> Tensor:
        """Give a site's new activation.

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
        """Give a site's activation in the source run: see `Replacement`."""
        values = self.run.at(site, layer)
        if positions is not None:
            values = values[:, -positions:]
        if pairs is None:
            return self.rows.of_pairs(values)
        rows = torch.tensor(self.rows.row_of, device=values.device)
        return values[rows[pairs.to(values.device)]]


@dataclass(frozen=True, slots=True)
class Constant:
    """One vector a site and layer, the same at every position of every pair."""

    #: From a site and a layer to `[width]`.
    vector: Callable[[str, int], Tensor]
    #: Number of pairs of the batch, and of positions that are kept of it.
    pairs: int
    positions: int

    def at(
        self, site: str, layer: int, *, pairs: Tensor | None = None, positions: int | None = None
    ) -> Tensor:
        """Give a site's vector at every position: see `Replacement`."""
        count = self.pairs if pairs is None else len(pairs)
        width = self.positions if positions is None else min(positions, self.positions)
        return self.vector(site, layer).expand(count, width, -1)
