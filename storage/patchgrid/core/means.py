"""Mean activations, one vector per site and layer, patched in by the source `mean`."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.errors import SpecError


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """Each site's activation averaged over prompts and their positions, without padding."""

    #: Site to float32 `[layer, width]`.
    vectors: Mapping[str, NDArray[np.float32]]

    def __repr__(self) -> str:
        return f"<Means of {', '.join(self.vectors)}>"

    def check(self, source: str, sites: tuple[str, ...], n_layers: int) -> None:
        """Raise `SpecError` for another source, a site without means, or a wrong number of layers."""
        if source != "mean":
            raise SpecError(f"means need source 'mean', not {source!r}", "source")
        for site in sites:
            if site not in self.vectors:
                raise SpecError(
                    f"no means given for site {site!r}; available: {', '.join(self.vectors) or 'none'}"
                )
            if len(self.vectors[site]) != n_layers:
                raise SpecError(
                    f"the means of site {site!r} are of {len(self.vectors[site])} layers, "
                    f"and the model has {n_layers}: they are from another model"
                )


class Adding:
    """Sums of activations for means; float64, so that the order of addition does not matter."""

    def __init__(self) -> None:
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._tokens = 0

    def add(self, sums: Mapping[str, NDArray[np.float64]], tokens: int) -> None:
        """Add sums over `tokens` tokens, site to `[layer, width]`."""
        for site, values in sums.items():
            self._sums[site] = self._sums[site] + values if site in self._sums else values
        self._tokens += tokens

    def means(self) -> Means:
        """Return the means; raises `SpecError` if nothing was added."""
        if not self._tokens:
            raise SpecError("no pair could be measured, so there are no means to patch in")
        return Means({site: (sums / self._tokens).astype(np.float32) for site, sums in self._sums.items()})
