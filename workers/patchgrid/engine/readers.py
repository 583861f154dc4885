"""Gradients at what the readers of edges read: the residual stream as each of them sees it.

A block's output is its input, plus what its attention adds, plus what its MLP adds. So the metric's gradient
at a block's input is that at its output, plus one gradient for each reader in the block. These are taken one
by one, from the last block to the first: what goes back through a query, a key, a value or an MLP, and no
further than to the stream, before that reader's own norm. Nothing is gone through twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from patchgrid.engine.activations import Activations
from patchgrid.engine.layout import Layout
from patchgrid.engine.taps import TAPS

#: Heads whose gradients are taken at once hold so many numbers at most.
_AT_ONCE = 2**24


@dataclass(frozen=True, slots=True)
class Readers:
    """The readers of one layer, or the logits."""

    #: Layer; of the logits, the number of layers.
    layer: int
    #: float32 `[row, position, reader, d_model]`: the attention's readers in the order of `Graph.readers`,
    #: the MLP last; or the logits alone. Where only the last position matters, that one.
    gradients: Tensor


def gradients(layout: Layout, run: Activations, metric: Tensor) -> Iterator[Readers]:
    """Give the gradients at all readers' inputs, from the logits down to the first layer's.

    Parameters
    ----------
    run
        With its graph, which is spent by this, and the parts that edges need.
    metric
        The scalar to differentiate.
    """
    [last] = torch.autograd.grad(metric, [run.stream[-1]], retain_graph=True)
    yield Readers(layout.n_layers, last[:, -1:, None].float())
    below = last
    for layer in reversed(range(layout.n_layers)):
        found = _of_layer(layout, run, layer, below)
        yield Readers(layer, found)
        below = (below.to(found.device).float() + found.sum(2)).to(below.dtype)


def _of_layer(layout: Layout, run: Activations, layer: int, after: Tensor) -> Tensor:
    """Give a layer's gradients, `[row, position, reader, d_model]`, from that at its output."""
    stream, added, mlp_out = run.stream[layer], run.attn_out[layer], run.mlp_out[layer]
    with torch.enable_grad():
        # The stream reaches a serial MLP beside what attention adds to it: their gradients are the same.
        read = stream if layout.parallel else added
        of_mlp = _back(mlp_out, read, after)
        between = after if layout.parallel else after + _widened(of_mlp, after)
        if run.q:
            heads = [getattr(run, site)[layer] for site in TAPS]
            at_heads = torch.autograd.grad(added, heads, _narrowed(between, added), retain_graph=True)
            of_attention = [_by_head(*each, stream) for each in zip(heads, at_heads, strict=True)]
        else:
            of_attention = [_back(added, stream, between)[None]]
    found = torch.cat([*of_attention, _widened(of_mlp, stream)[None]])
    return rearrange(found, "reader row position width -> row position reader width").float()


def _back(output: Tensor, to: Tensor, gradient: Tensor) -> Tensor:
    """Go back from one tensor to another, with the gradient at the first."""
    [found] = torch.autograd.grad(output, [to], _narrowed(gradient, output), retain_graph=True)
    return found


def _by_head(heads: Tensor, gradient: Tensor, stream: Tensor) -> Tensor:
    """Go back to the stream from each of some heads `[row, head, position, head_dim]` alone.

    Returns
    -------
    `[head, row, position, d_model]`.
    """
    count = heads.shape[1]
    size = max(1, min(count, _AT_ONCE // max(heads.numel(), stream.numel())))
    own = torch.eye(count, dtype=gradient.dtype, device=gradient.device)
    found: list[Tensor] = []
    for some in torch.split(own, size):
        alone = some[:, None, :, None, None] * gradient
        found += torch.autograd.grad(heads, [stream], alone, retain_graph=True, is_grads_batched=True)
    return torch.cat(found)


def _narrowed(gradient: Tensor, like: Tensor) -> Tensor:
    """Keep the last positions, as many as there are of what was added to the stream."""
    return gradient[:, -like.shape[1] :].to(like)


def _widened(gradient: Tensor, like: Tensor) -> Tensor:
    """Put zeros where nothing was gone back to: before the last position, where that alone matters."""
    missing = like.shape[1] - gradient.shape[1]
    return torch.nn.functional.pad(gradient.to(like.device), (0, 0, missing, 0))
