"""From products of gradients and differences to a batch's scores, one a component."""

from collections.abc import Sequence

import torch
from torch import Tensor

from patchgrid.core.sites import SITES
from patchgrid.engine.runs.passes import Passes
from patchgrid.engine.sites.base import head_view


def of_components(passes: Passes, site: str, product: Tensor) -> Tensor:
    """Sum a product over each component's dimensions.

    Parameters
    ----------
    product
        `[pair, position, width]` of one layer, from some position on to the last.

    Returns
    -------
    `[pair, position]`, of a site with an index `[pair, position, index]`; of very many components, where
    positions are not kept, `[pair, index]`.
    """
    count = passes.model.layout.count(site)
    if count is None:
        return product.sum(-1)
    # A component may be one number: nothing is to be summed then.
    scores = product if product.shape[-1] == count else head_view(product, count).sum(-1)
    if not SITES[site].wide or passes.question.keep_positions:
        return scores
    differs = passes.batch.differs[:, -scores.shape[1] :, None].to(scores.device)
    return (scores * differs).sum(1)


def magnitudes(passes: Passes, site: str, product: Tensor) -> Tensor:
    """Return `of_components` of each component at each position without its sign."""
    if SITES[site].wide:
        return of_components(passes, site, product.abs())
    return of_components(passes, site, product).abs()


def stacked(passes: Passes, site: str, layers: Sequence[Tensor]) -> Tensor:
    """Put the layers' scores, as `of_components` gives them, together: `[pair, layer, position, ...]`.

    Positions are those from `Passes.cut` on; where there is nothing that can matter, scores are 0.
    """
    device = passes.batch.differs.device
    if SITES[site].wide and not passes.question.keep_positions:
        return torch.stack([scores.to(device) for scores in layers], dim=1)
    differs = passes.batch.differs[:, passes.cut :]
    scores = torch.stack([_widened(each, differs.shape[1]).to(device) for each in layers], dim=1)
    return scores * differs.view(len(differs), 1, -1, *(1,) * (scores.ndim - 3))


def _widened(scores: Tensor, width: int) -> Tensor:
    """Put zeros before scores `[pair, position, ...]` that there are for the last positions only."""
    missing = width - scores.shape[1]
    if not missing:
        return scores
    return torch.cat([scores.new_zeros(scores.shape[0], missing, *scores.shape[2:]), scores], dim=1)
