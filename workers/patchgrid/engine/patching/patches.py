"""What a run's copies are patched with: by site and layer, which indices and positions of which copy."""

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from patchgrid.core.component_sets import Part
from patchgrid.core.sites import SITES, Point
from patchgrid.engine.patching.copies import Copy
from patchgrid.engine.sites.base import head_view

#: A copy's place among the run's, one of its parts, and that part's row of positions.
_Entry = tuple[int, Part, int]
_ORDER = {site: number for number, site in enumerate(SITES)}


class Patches:
    """The patches of one run's copies.

    Parameters
    ----------
    copies
        The run's copies.
    where
        bool `[part, position]`, on the host: see `patched_positions`.
    """

    def __init__(self, copies: Sequence[Copy], where: Tensor) -> None:
        self._where = where
        #: By site and layer; the second list has what further parts a copy has there, at other positions.
        self._entries: dict[tuple[str, int], list[list[_Entry]]] = {}
        parts = ((place, part) for place, copy in enumerate(copies) for part in copy.parts)
        for row, (place, part) in enumerate(parts):
            rounds = self._entries.setdefault((part.site, part.layer), [])
            entry = place, part, row
            free = next((each for each in rounds if each[-1][0] != place), None)
            if free is None:
                rounds.append([entry])
            else:
                free.append(entry)

        self._sites: dict[tuple[int, Point], list[str]] = {}
        for site, layer in sorted(self._entries, key=lambda entry: _ORDER[entry[0]]):
            self._sites.setdefault((layer, SITES[site].point), []).append(site)
        #: The layers that copies are patched in.
        self.layers = {layer for _, layer in self._entries}

    def sites(self, layer: int, point: Point) -> Sequence[str]:
        """The sites that copies are patched at, of those at a point of a layer, in the order of the pass."""
        return self._sites.get((layer, point), ())

    def write(self, site: str, layer: int, count: int | None, into: Tensor, new: Tensor) -> Tensor:
        """Write what is new where copies are patched at a site of a layer.

        Parameters
        ----------
        count
            How many components the layer has; None: it is one.
        into
            `[copy, position, width]`, the last positions; written to.
        new
            `[copy, position, width]`, the last positions, maybe others.
        """
        width = min(into.shape[1], new.shape[1])
        for entries in self._entries[site, layer]:
            places, parts, rows = zip(*entries, strict=True)
            chosen = torch.tensor(places, device=into.device)
            indices = _chosen_indices(parts, count or 1).to(into.device)
            positions = self._where[list(rows), -width:].to(into.device)
            mask = (indices[:, None, :] & positions[..., None])[..., None]
            own, other = (
                head_view(into[chosen], count or 1),
                head_view(new.to(into.device)[chosen], count or 1),
            )
            patched = torch.where(mask, other[:, -width:], own[:, -width:])
            into[chosen, -width:] = rearrange(patched, "copy position index dim -> copy position (index dim)")
        return into


def _chosen_indices(parts: Sequence[Part], count: int) -> Tensor:
    """bool `[part, index]`, true at each part's indices, or everywhere."""
    whole = [row for row, part in enumerate(parts) if part.indices is None]
    some = [(row, part.indices) for row, part in enumerate(parts) if part.indices is not None]
    mask = np.zeros((len(parts), count), bool)
    mask[whole] = True
    if some:
        rows, indices = zip(*some, strict=True)
        mask[np.repeat(rows, [len(few) for few in indices]), np.concatenate(indices)] = True
    return torch.from_numpy(mask)
