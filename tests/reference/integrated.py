"""Integrated gradients with plain PyTorch hooks: one forward and one backward for every point of a path."""

import numpy as np
import torch
from torch import Tensor

from reference.patching import Array, Reference
from reference.sites import by_position, last_logits, visiting


def integrated(reference: Reference, metric_name: str, steps: int, path: str) -> dict[str, Array]:
    """Score every site with gradients at the middles of `steps` equal parts of the path.

    `path` is `embedding` (the first block's input moves) or `site` (each site's own activation does, one
    layer at a time).
    """
    keys = list(reference.base.activations)
    points = [(number + 0.5) / steps for number in range(steps)]
    gradients = dict.fromkeys(keys, torch.zeros(()))
    for point in points:
        if path == "embedding":
            found = _gradients(reference, metric_name, ("resid_pre", 0), point)
        else:
            found = {key: _gradients(reference, metric_name, key, point)[key] for key in keys}
        gradients = {key: gradients[key] + found[key] / steps for key in keys}
    rows: dict[str, list[Array]] = {}
    for site, layer in keys:
        change = (
            reference.source.activations[site, layer] - reference.base.activations[site, layer]
        ).detach()
        product = by_position(site, gradients[site, layer] * change, reference.heads)
        score = product if site == "mlp_post" else product.sum(dim=-1)
        rows.setdefault(site, []).append(score.double().numpy())
    return {site: np.stack(layers) for site, layers in rows.items()}


def _gradients(
    reference: Reference, metric_name: str, moved: tuple[str, int], point: float
) -> dict[tuple[str, int], Tensor]:
    """Run the base prompt with one activation moved; give the gradients of it and of all behind it."""
    seen: dict[tuple[str, int], Tensor] = {}

    def visit(site: str, layer: int, tensor: Tensor) -> None:
        if (site, layer) == moved:
            base = reference.base.activations[moved].detach()
            source = reference.source.activations[moved].detach()
            # Past autograd, which is asked for nothing that lies before it.
            tensor.data.copy_(base + point * (source - base))
        if seen or (site, layer) == moved:
            seen[site, layer] = tensor

    with visiting(reference.model, visit):
        logits = last_logits(reference.model, [reference.base_ids])[0]
    value = reference.metric(metric_name)(logits)
    gradients = torch.autograd.grad(value, list(seen.values()), allow_unused=True)
    return {
        key: torch.zeros_like(tensor) if gradient is None else gradient
        for (key, tensor), gradient in zip(seen.items(), gradients, strict=True)
    }
