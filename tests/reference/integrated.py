"""Integrated gradients with plain PyTorch hooks; the points of a site's own path run side by side."""

import numpy as np
import torch
from torch import Tensor

from reference.patching import Array, Reference
from reference.sites import by_position, by_prompt, last_logits, visiting

#: Site and layer.
Key = tuple[str, int]


def integrated(reference: Reference, metric_name: str, steps: int, path: str) -> dict[str, Array]:
    """Score every site with gradients at the middles of `steps` equal parts of the path.

    `path` is `embedding` (the first block's input moves) or `site` (each site's own activation does, one
    layer at a time).
    """
    keys = list(reference.base.activations)
    points = [(number + 0.5) / steps for number in range(steps)]
    gradients: dict[Key, Tensor] = {}
    if path == "embedding":
        parts = [_gradients(reference, metric_name, [(("resid_pre", 0), point)]) for point in points]
        gradients = {key: torch.cat([part[key] for part in parts]).mean(0) for key in keys}
    else:
        for layer in {layer for _, layer in keys}:
            moved = [key for key in keys if key[1] == layer]
            found = _gradients(reference, metric_name, [(key, point) for key in moved for point in points])
            for number, key in enumerate(moved):
                gradients[key] = found[key][number * steps : (number + 1) * steps].mean(0)
    scores: dict[str, list[Array]] = {}
    for site, layer in keys:
        source, base = (run.activations[site, layer] for run in (reference.source, reference.base))
        change = by_position(site, (source - base).detach(), reference.heads)
        product = gradients[site, layer] * change
        score = product if site == "mlp_post" else product.sum(dim=-1)
        scores.setdefault(site, []).append(score.double().numpy())
    return {site: np.stack(layers) for site, layers in scores.items()}


def _gradients(reference: Reference, metric_name: str, moves: list[tuple[Key, float]]) -> dict[Key, Tensor]:
    """Run the base prompt with one activation moved in each row; return all gradients, `[row, …]`.

    Those of what lies before the activation that was moved mean nothing.
    """
    seen: dict[Key, Tensor] = {}

    def visit(site: str, layer: int, tensor: Tensor) -> None:
        for row, (key, point) in enumerate(moves):
            if key == (site, layer):
                base, source = (
                    by_position(site, run.activations[key].detach(), reference.heads)
                    for run in (reference.base, reference.source)
                )
                # Past autograd, which is asked for nothing that lies before it.
                here = by_prompt(site, tensor.data, reference.heads, len(moves))[row]
                here.copy_(base + point * (source - base))
        seen.setdefault((site, layer), tensor)

    with visiting(reference.model, visit):
        rows = last_logits(reference.model, [reference.base_ids] * len(moves))
    metric = reference.metric(metric_name)
    value = torch.stack([metric(logits) for logits in rows]).sum()
    gradients = torch.autograd.grad(value, list(seen.values()), allow_unused=True, materialize_grads=True)
    return {
        (site, layer): by_prompt(site, gradient, reference.heads, len(moves))
        for (site, layer), gradient in zip(seen, gradients, strict=True)
    }
