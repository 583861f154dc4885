"""Sets of components patched together, with plain PyTorch hooks: one run of the unpadded prompt a set."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from patchgrid.engine import Component
from reference.patching import Array, Reference, positions_of
from reference.sites import by_position, last_logits, visiting


def set_effects(reference: Reference, sets: Sequence[Sequence[Component]], metric_name: str) -> Array:
    """Overwrite all components of a set as the run gets to them; effects `[set]`."""
    metric = reference.metric(metric_name)
    before = metric(reference.base.logits.detach())
    return np.array([float(metric(_logits(reference, some)) - before) for some in sets])


def _logits(reference: Reference, components: Sequence[Component]) -> Tensor:
    """Run the base prompt with every component overwritten by the source's activation."""

    def write(site: str, layer: int, tensor: Tensor) -> None:
        for component in components:
            if (component.site, component.layer) == (site, layer):
                source = by_position(
                    site, reference.source.activations[site, layer].detach(), reference.heads
                )
                here = by_position(site, tensor, reference.heads)
                inner = slice(None) if component.index is None else component.index
                cells = (positions_of(component, len(here)), inner)
                here[cells] = source[cells]

    with torch.no_grad(), visiting(reference.model, write):
        return last_logits(reference.model, [reference.base_ids])[0]
