"""Gradients at what the readers of edges read: the residual stream as each of them sees it.

A block's output is its input, plus what its attention adds, plus what its MLP adds. So the metric's gradient
at a block's input is that at its output, plus one gradient for each reader in the block. These are taken one
by one, from the last block to the first: what goes back through a query, a key, a value or an MLP, and no
further than to the stream, before that reader's own norm. Nothing is gone through twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor

from patchgrid.engine.model.layout import Layout
from patchgrid.engine.model.linear import matrix
from patchgrid.engine.model.taps import TAPS
from patchgrid.engine.runs.activations import Activations

#: Most numbers of the heads whose gradients are taken at once.
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
    """Yield the gradients at all readers' inputs, from the logits down to the first layer's.

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
        gradients = _of_layer(layout, run, layer, below)
        yield Readers(layer, gradients)
        below = (below.to(gradients.device).float() + gradients.sum(2)).to(below.dtype)


def _of_layer(layout: Layout, run: Activations, layer: int, after: Tensor) -> Tensor:
    """Return a layer's gradients, `[row, position, reader, d_model]`, from that at its output."""
    stream, added, mlp_out = run.stream[layer], run.attn_out[layer], run.mlp_out[layer]
    with torch.enable_grad():
        # The stream reaches a serial MLP beside what attention adds to it: their gradients are the same.
        read = stream if layout.parallel else added
        of_mlp = _back(mlp_out, read, after)
        between = after if layout.parallel else after + _widened(of_mlp, after)
        if layout.split:
            heads = [getattr(run, site)[layer] for site in TAPS]
            at_heads = torch.autograd.grad(added, heads, _narrowed(between, added), retain_graph=True)
            of_attention = _of_heads(layout, run, layer, list(zip(heads, at_heads, strict=True)))
        else:
            of_attention = [_back(added, stream, between)[None]]
    by_reader = torch.cat([*of_attention, _widened(of_mlp, stream)[None]])
    return rearrange(by_reader, "reader row position width -> row position reader width").float()


def _back(output: Tensor, to: Tensor, gradient: Tensor) -> Tensor:
    """Go back from one tensor to another, with the gradient at the first."""
    [reached] = torch.autograd.grad(output, [to], _narrowed(gradient, output), retain_graph=True)
    return reached


#: Queries, keys or values, and the gradient at them: `[row, head, position, head_dim]` both.
_Heads = tuple[Tensor, Tensor]


def _of_heads(layout: Layout, run: Activations, layer: int, taps: Sequence[_Heads]) -> list[Tensor]:
    """Go back to the stream from each head of queries, keys and values: `[head, row, position, d_model]`."""
    stream, projections = run.stream[layer], layout.blocks[layer].inner
    if not projections:
        return [_by_head(*each, [stream])[0] for each in taps]
    read, count = run.inner_input[layer], len(projections)
    outputs = run.inner_outputs[layer * count : (layer + 1) * count]
    matrices = [matrix(each._module, read.shape[-1]) for each in projections]  # noqa: SLF001
    at_read = [_through(_by_head(*each, outputs), matrices) for each in taps]
    return [_batched(read, [stream], some)[0] for some in at_read]


def _through(gradients: Sequence[Tensor], matrices: Sequence[Tensor]) -> Tensor:
    """Go back through projections by the outputs that a head has of them, from those of `_by_head`."""
    parts = [
        _rows_of(gradient, weights.T)
        for gradient, weights in zip(gradients, matrices, strict=True)
        if gradient.numel()
    ]
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


def _rows_of(gradient: Tensor, weights: Tensor) -> Tensor:
    """Multiply `[head, row, position, output]` and `[output, width]`, where each head has few outputs."""
    touched = (gradient != 0).flatten(1, 2).any(1)
    count = max(1, int(touched.sum(1).max()))
    if 2 * count > len(weights):
        return gradient @ weights
    rows = touched.int().topk(count).indices
    own = gradient.gather(-1, rows[:, None, None].expand(*gradient.shape[:3], -1))
    return einsum(own, weights[rows], "head row position inner, head inner width -> head row position width")


def _by_head(heads: Tensor, gradient: Tensor, to: Sequence[Tensor]) -> list[Tensor]:
    """Go back from each of some heads alone: `[head, row, position, width]` for each tensor gone back to."""
    own = torch.eye(heads.shape[1], dtype=gradient.dtype, device=gradient.device)
    return _batched(heads, to, own[:, None, :, None, None] * gradient)


def _batched(output: Tensor, to: Sequence[Tensor], gradients: Tensor) -> list[Tensor]:
    """Go back with several gradients, in batches; tensors without a path are returned as `[0]`."""
    size = max(1, _AT_ONCE // max(output.numel(), to[0].numel()))
    batches = [
        torch.autograd.grad(output, to, some, retain_graph=True, is_grads_batched=True, allow_unused=True)
        for some in torch.split(gradients, size)
    ]
    return [
        gradients.new_zeros(0) if parts[0] is None else torch.cat(parts)
        for parts in zip(*batches, strict=True)
    ]


def _narrowed(gradient: Tensor, like: Tensor) -> Tensor:
    """Keep the last positions, as many as there are of what was added to the stream."""
    return gradient[:, -like.shape[1] :].to(like)


def _widened(gradient: Tensor, like: Tensor) -> Tensor:
    """Put zeros where nothing was gone back to: before the last position, where that alone matters."""
    missing = like.shape[1] - gradient.shape[1]
    return torch.nn.functional.pad(gradient.to(like.device), (0, 0, missing, 0))
