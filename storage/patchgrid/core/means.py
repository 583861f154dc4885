"""Mean activations, a vector a site and layer: what the source `mean` puts into the base run."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.errors import SpecError


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """Each site's activation averaged over prompts and their positions; padding counts nowhere."""

    #: Site to float32 `[layer, width]`.
    vectors: Mapping[str, NDArray[np.float32]]

    def check(self, source: str, sites: tuple[str, ...], n_layers: int) -> None:
        """Raise `SpecError` for another source, a site without means, or means of a model not so deep."""
        if source != "mean":
            raise SpecError(f"means are for the source 'mean', not {source!r}", "source")
        for site in sites:
            if site not in self.vectors:
                raise SpecError(
                    f"no means of site {site!r} given: there are {', '.join(self.vectors) or 'none'}"
                )
            if len(self.vectors[site]) != n_layers:
                raise SpecError(
                    f"the means of site {site!r} are of {len(self.vectors[site])} layers, "
                    f"and the model has {n_layers}: they are another model's"
                )


class Adding:
    """Sums of activations on their way to means; float64, so that no order of adding matters."""

    def __init__(self) -> None:
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._tokens = 0

    def add(self, sums: Mapping[str, NDArray[np.float64]], tokens: int) -> None:
        """Take in sums over so many tokens, site to `[layer, width]`."""
        for site, values in sums.items():
            self._sums[site] = self._sums[site] + values if site in self._sums else values
        self._tokens += tokens

    def means(self) -> Means:
        """Give the means; `SpecError` where nothing was taken in."""
        if not self._tokens:
            raise SpecError("no pair could be measured, so there are no means to put in")
        return Means({site: (sums / self._tokens).astype(np.float32) for site, sums in self._sums.items()})
