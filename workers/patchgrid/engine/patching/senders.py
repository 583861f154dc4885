"""What the senders of edges add to the residual stream: the model's input, heads, MLPs.

A head's share of what attention adds is its `z` through its own rows of the output projection. Where a norm
follows the projection (Gemma 2 and 3, OLMo 2) that share is not the head's alone: then `of_each_head` gives
it to first order, through the norm's derivative at the run that scores are made at, and `of_head` gives what
is added more in truth once the head is changed. As the change becomes small, the two become the same.
"""

from collections.abc import Callable

import torch
from einops import einsum
from torch import Tensor

from patchgrid.engine.model.layout import Block
from patchgrid.engine.model.linear import matrix

Function = Callable[[Tensor], Tensor]


def of_each_head(block: Block, change: Tensor, z: Tensor) -> Tensor:
    """Return, to first order, how a change of each head changes the attention output.

    Parameters
    ----------
    change
        float32 `[pair, position, head, head_dim]`.
    z
        `[pair, position, head * head_dim]` of the run at which norms are differentiated.

    Returns
    -------
    float32 `[pair, position, head, d_model]`.
    """
    heads, dim = change.shape[2:]
    per_head = _matrix(block, heads * dim).float().view(heads, dim, -1)
    projected = einsum(change, per_head, "pair position head dim, head dim width -> pair position head width")
    after = block.after_projection
    if after is None:
        return projected * block.scale
    there = _projected(block, z)[:, :, None].float().expand_as(projected)
    return _derivative(after, there.detach().clone(), projected) * block.scale


def of_head(block: Block, change: Tensor, z: Tensor) -> Tensor:
    """Return what a change of `z` changes in what attention adds, exactly.

    Parameters
    ----------
    change
        float32 `[copy, position, head * head_dim]`.
    z
        The run's own, of the same shape.

    Returns
    -------
    float32 `[copy, position, d_model]`.
    """
    projected = change @ _matrix(block, change.shape[-1]).float()
    after = block.after_projection
    if after is None:
        return projected * block.scale
    there = _projected(block, z).float()
    changed: Tensor = after(there + projected).float() - after(there).float()
    return changed * block.scale


def _matrix(block: Block, width: int) -> Tensor:
    """Return the matrix that takes `z`, `[head * head_dim]`, to what `Block.after_projection` takes."""
    module = block.projection._module  # noqa: SLF001 (the torch module itself: no trace is under way)
    if _enters_norm(block):
        return torch.eye(width, device=next(module.parameters()).device)
    return matrix(module, width)


def _enters_norm(block: Block) -> bool:
    module = block.projection._module  # noqa: SLF001
    return not hasattr(module, "in_features") and not hasattr(module, "nf")


def _projected(block: Block, z: Tensor) -> Tensor:
    if _enters_norm(block):
        return z
    projected: Tensor = block.projection._module(z)  # noqa: SLF001
    return projected


def _derivative(function: Function, at: Tensor, along: Tensor) -> Tensor:
    """Differentiate a function in a direction: by two backward passes, which every function has."""
    with torch.enable_grad():
        at = at.requires_grad_()
        value = function(at)
        weights = torch.zeros_like(value, requires_grad=True)
        [slope] = torch.autograd.grad(value, [at], weights, create_graph=True)
        [found] = torch.autograd.grad(slope, [weights], along)
    return found.float()
