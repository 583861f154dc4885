"""Means of activations with plain PyTorch hooks, and runs whose source is a vector instead of a prompt."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reference.patching import Reference, Run, TokenPair, record
from reference.sites import by_position

#: Site and layer to a vector as wide as the site.
Vectors = dict[tuple[str, int], Tensor]


def means(model: Any, pairs: Sequence[TokenPair], direction: str) -> Vectors:
    """Average every site's activation over all positions of the pairs' source prompts."""
    rows: dict[tuple[str, int], list[Tensor]] = {}
    for pair in pairs:
        run = record(model, pair.clean if direction == "denoise" else pair.corrupted)
        for key, tensor in run.activations.items():
            rows.setdefault(key, []).append(tensor.detach().reshape(len(pair.clean), -1))
    return {key: torch.cat(found).mean(0) for key, found in rows.items()}


def zeros(model: Any, pairs: Sequence[TokenPair], direction: str) -> Vectors:
    """Give a vector of zeros for every site."""
    return {key: torch.zeros_like(vector) for key, vector in means(model, pairs[:1], direction).items()}


def with_vectors(reference: Reference, vectors: Vectors) -> Reference:
    """Take vectors, the same at every position, for the source run's activations."""
    activations = {
        (site, layer): vectors[site, layer]
        .expand(by_position(site, tensor, 1).shape[0], -1)
        .reshape(tensor.shape)
        for (site, layer), tensor in reference.source.activations.items()
    }
    reference.source = Run(reference.source.logits, activations)
    return reference
