"""One forward pass through nnsight, with the activations that were asked for."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import nnsight
import torch
from einops import rearrange
from torch import Tensor

from patchgrid.engine.batches import Batch
from patchgrid.engine.layout import Block, Layout
from patchgrid.engine.loading import LoadedModel


@dataclass(slots=True)
class Activations:
    """What one run computed; `position` is padded."""

    #: float32 `[pair, vocabulary]` logits of the last position.
    logits: Tensor
    #: `[pair, position, d_model]`: each block's input, then the last block's output (n_layers + 1).
    stream: list[Tensor] = field(default_factory=list)
    #: `[pair, position, head * head_dim]` a layer, empty where not asked for.
    z: list[Tensor] = field(default_factory=list)
    #: `[pair, position, d_model]` a layer, empty where not asked for.
    attn_out: list[Tensor] = field(default_factory=list)
    #: `[pair, position, d_model]` a layer, empty where not asked for.
    mlp_out: list[Tensor] = field(default_factory=list)

    def at(self, site: str, layer: int) -> Tensor:
        """The activation of a site, `[pair, position, width]`; for z, width is head * head_dim."""
        match site:
            case "resid_pre":
                return self.stream[layer]
            case "resid_mid":
                return self.stream[layer] + self.attn_out[layer]
            case "resid_post":
                return self.stream[layer + 1]
            case _:
                parts: list[Tensor] = getattr(self, site)
                return parts[layer]


#: The parts of `Activations`, beside the stream, that each site needs.
PARTS = {
    "resid_pre": (),
    "resid_mid": ("attn_out",),
    "resid_post": (),
    "attn_out": ("attn_out",),
    "mlp_out": ("mlp_out",),
    "z": ("z",),
}


def parts_for(sites: Collection[str]) -> frozenset[str]:
    """Name the parts that scoring or patching these sites needs."""
    return frozenset(part for site in sites for part in PARTS[site])


def model_inputs(batch: Batch, tokens: Tensor) -> dict[str, Any]:
    """Keyword arguments of a forward pass over one side of a batch."""
    return {
        "input_ids": tokens,
        "attention_mask": batch.attention_mask,
        "position_ids": batch.position_ids,
        "use_cache": False,
        "logits_to_keep": 1,
    }


def run(
    model: LoadedModel, batch: Batch, tokens: Tensor, parts: Collection[str], *, grad: bool
) -> Activations:
    """Run one side of a batch and keep the stream and the named parts.

    Parameters
    ----------
    tokens
        `batch.clean` or `batch.corrupted`.
    grad
        Record the graph, from the first block's input on, for a backward pass.
    """
    inputs = model_inputs(batch, tokens)
    blocks = model.layout.blocks
    kept = Activations(torch.empty(0))
    with torch.set_grad_enabled(grad), model.envoy.trace(**inputs):
        first = blocks[0].layer.input
        if grad:
            first.requires_grad_(requires_grad=True)
        kept.stream.append(first)
        for block in blocks:
            _keep_block(kept, block, parts, first.shape)
        logits = nnsight.save(model.envoy.output.logits)
    kept.logits = logits[:, -1].float()
    return kept


def _keep_block(kept: Activations, block: Block, parts: Collection[str], shape: torch.Size) -> None:
    """Read one block's parts in the order in which the forward pass reaches them."""
    if "z" in parts:
        kept.z.append(block.projection.input)
    if "attn_out" in parts:
        kept.attn_out.append(first_output(block.attn_out.output))
    if "mlp_out" in parts:
        kept.mlp_out.append(block.mlp_out.output.view(shape))  # OPT's MLP sees the batch flattened
    kept.stream.append(block.layer.output)


def first_output(output: Any) -> Tensor:
    """Attention modules give a tuple, norms a tensor: the activation itself."""
    tensor: Tensor = output[0] if isinstance(output, tuple) else output
    return tensor


def head_view(z: Tensor, layout: Layout) -> Tensor:
    """Split `[..., head * head_dim]` into `[..., head, head_dim]`."""
    return rearrange(z, "... (head dim) -> ... head dim", head=layout.n_heads)
