"""Means of activations with plain PyTorch hooks, and runs whose source is a vector instead of a prompt."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reference.patching import Reference, Run, TokenPair, record
from reference.sites import by_position

#: Site and layer to a vector as wide as the site, of heads `[head, dim]`.
Vectors = dict[tuple[str, int], Tensor]


def means(model: Any, pairs: Sequence[TokenPair], direction: str) -> Vectors:
    """Average every site's activation over all positions of the pairs' source prompts."""
    heads = model.config.num_attention_heads
    rows: dict[tuple[str, int], list[Tensor]] = {}
    for pair in pairs:
        run = record(model, pair.clean if direction == "denoise" else pair.corrupted)
        for (site, layer), tensor in run.activations.items():
            rows.setdefault((site, layer), []).append(by_position(site, tensor.detach(), heads))
    return {key: torch.cat(found).mean(0) for key, found in rows.items()}


def zeros(model: Any, pairs: Sequence[TokenPair], direction: str) -> Vectors:
    """Return a vector of zeros for every site."""
    return {key: torch.zeros_like(vector) for key, vector in means(model, pairs[:1], direction).items()}


def with_vectors(reference: Reference, vectors: Vectors) -> Reference:
    """Take vectors, the same at every position, for the source run's activations."""
    activations = {key: tensor.detach().clone() for key, tensor in reference.source.activations.items()}
    for (site, layer), tensor in activations.items():
        by_position(site, tensor, reference.heads).copy_(vectors[site, layer])
    reference.source = Run(reference.source.logits, activations)
    return reference
