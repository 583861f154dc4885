"""A head's attention pattern: the softmax of its scaled logits, one row of weights a query.

The model's own softmax stands inside its attention function. It is computed again from the queries and keys
that the taps show and what the function was given besides (`attention.py`; each model is checked on load).
Values and all else stay, so another pattern changes `z` by the change of the weights times the values, and
the gradient at a weight is that at `z` times its key's value.
"""

import torch
from torch import Tensor

from patchgrid.engine.sites import base
from patchgrid.engine.sites.attention import Pattern, for_queries
from patchgrid.engine.sites.base import head_view


class Access(base.Access):
    """Reads and patches `attn_pattern`: float32 `[row, query position, head * key position]`."""

    def at(self, run: base.Run, layer: int) -> Tensor:
        """Return the weights of the run's own queries, over all keys."""
        queries, keys = run.q[layer], run.k[layer]
        pattern = Pattern.of(run.attention_calls[layer], queries, keys)
        first = queries.shape[2] - run.stream[0].shape[1]
        own = queries[:, :, first:].float()
        return _flat(pattern.weights(own, for_queries(keys, queries.shape[1]), first))

    def watched(self, run: base.Run, layer: int) -> Tensor:
        """Return `z`: the gradient at the weights is made from its own."""
        return run.z[layer]

    def slope(self, run: base.Run, layer: int, gradient: Tensor) -> Tensor:
        """Multiply the gradient at each query's `z` by each key's value."""
        heads = run.q[layer].shape[1]
        by_head = head_view(gradient.float(), heads).transpose(1, 2)
        return _flat(by_head @ for_queries(run.v[layer].detach(), heads).transpose(-1, -2))

    def patch(self, copies: base.Copies, values: Tensor) -> Tensor:
        """Write the `z` that the new weights give.

        Where queries, keys and values are the base run's: its `z`, plus the weights' change times the values.
        """
        run, layer = copies.base_run, copies.layer
        heads = run.q[layer].shape[1]
        new = copies.new(self.site.name, values.shape[1])
        if copies.values is not None:
            return copies.write(self.site.name, values, _z(new, copies.values, heads).to(values.dtype))
        own = copies.of_base(run.at(self.site.name, layer))[:, -new.shape[1] :]
        seen = run.v[layer][copies.rows.to(run.v[layer].device)]
        moved = _z(new - own.to(new.device), seen.to(new.device), heads)
        return copies.write(self.site.name, values, (values.float() + moved).to(values.dtype))


def _z(weights: Tensor, values: Tensor, heads: int) -> Tensor:
    """Multiply `[row, query position, head * key position]` and the keys' values: float32 `z`."""
    by_head = head_view(weights, heads).transpose(1, 2)
    return (by_head @ for_queries(values, heads).to(by_head.device)).transpose(1, 2).flatten(2)


def _flat(weights: Tensor) -> Tensor:
    """From `[row, head, query position, key position]` to `[row, query position, head * key position]`."""
    return torch.flatten(weights.transpose(1, 2), 2)
