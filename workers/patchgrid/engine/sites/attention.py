"""Recomputing attention patterns: the softmax of an attention function, from its arguments.

Used when only a query or a key changes, without running the model.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from einops import repeat
from torch import Tensor, nn

from patchgrid.engine.model.layout import Layout
from patchgrid.engine.model.taps import AttentionCall

#: What stands for minus infinity: a row in which nothing is to be seen stays finite.
LOWEST = torch.finfo(torch.float32).min


@dataclass(frozen=True, slots=True)
class Pattern:
    """The way from queries and keys to the logits of one layer's attention."""

    scaling: float
    #: Logits are bent to lie between minus and plus this (Gemma 2); None: they are not.
    softcap: float | None
    #: A further logit of each head, which nothing is read from (gpt_oss): float32 `[head]`.
    sinks: Tensor | None
    #: Added to the logits, broadcast to `[row, head, query position, key position]`.
    added: Tensor | None
    #: True where a key is hidden from a query, broadcast likewise.
    hidden: Tensor | None

    @classmethod
    def of(cls, call: AttentionCall, queries: Tensor, keys: Tensor) -> "Pattern":
        """Read an attention function's arguments; queries and keys are only used for their sizes."""
        options = call.options
        scaling, sinks, mask = options.get("scaling"), options.get("s_aux"), call.mask
        count, width = queries.shape[2], keys.shape[2]
        added, hidden = options.get("position_bias"), None
        if mask is None:
            causal = options.get("is_causal")
            causal = getattr(call.module, "is_causal", True) if causal is None else causal
            if causal and count > 1:
                hidden = torch.ones(count, width, dtype=torch.bool, device=queries.device).triu(1)[None, None]
        elif mask.dtype == torch.bool:
            hidden = ~mask[..., :width]
        else:
            added = mask[..., :width] if added is None else added + mask[..., :width]
        return cls(
            scaling=queries.shape[-1] ** -0.5 if scaling is None else float(scaling),
            softcap=options.get("softcap"),
            sinks=None if sinks is None else sinks.detach().float(),
            added=None if added is None else added.detach().float(),
            hidden=hidden,
        )

    def of_rows(self, choose: Callable[[Tensor], Tensor]) -> "Pattern":
        """Return that of other rows, which `choose` takes from a tensor of this one's."""

        def chosen(values: Tensor | None) -> Tensor | None:
            return values if values is None or len(values) == 1 else choose(values)

        return replace(self, added=chosen(self.added), hidden=chosen(self.hidden))

    def logits(self, queries: Tensor, keys: Tensor, first: int) -> Tensor:
        """Return the logits of queries from one on (counted within the run), sinks omitted.

        Parameters
        ----------
        queries
            float32 `[row, head, query position, head_dim]`.
        keys
            float32 `[row, head, key position, head_dim]`: the last ones of the run, or all.
        """
        logits = queries @ keys.transpose(-1, -2) * self.scaling
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        rows, columns = slice(first, first + queries.shape[2]), slice(-keys.shape[2], None)
        if self.added is not None:
            logits = (logits + self.added[:, :, rows, columns]).clamp(min=LOWEST)
        if self.hidden is not None:
            logits = logits.masked_fill(self.hidden[:, :, rows, columns], LOWEST)
        return logits

    def weights(self, queries: Tensor, keys: Tensor, first: int) -> Tensor:
        """Return the softmax of `logits`, of their shape: `[row, head, query position, key position]`."""
        logits = self.logits(queries, keys, first)
        return self.with_sinks(logits, logits)[0].softmax(-1)[..., -logits.shape[-1] :]

    def with_sinks(self, logits: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put each head's sink before its logits, and 0 before what belongs to them."""
        if self.sinks is None:
            return logits, values
        sinks = self.sinks.view(1, -1, 1, 1).expand(*logits.shape[:3], 1)
        return torch.cat([sinks, logits], dim=-1), torch.cat([torch.zeros_like(sinks), values], dim=-1)


def for_queries(heads: Tensor, count: int) -> Tensor:
    """Repeat key-value heads for the query heads that read them.

    From `[row, key-value head, position, head_dim]` to float32 `[row, head, position, head_dim]`.
    """
    return repeat(
        heads.float(), "row head position dim -> row (head group) position dim", group=count // heads.shape[1]
    )


def attended(call: AttentionCall, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Compute z from the taps' queries, keys and values: float32 `[row, query position, head * head_dim]`."""
    count = queries.shape[1]
    pattern = Pattern.of(call, queries, keys)
    weights = pattern.weights(queries.float(), for_queries(keys, count), 0)
    return (weights @ for_queries(values, count)).transpose(1, 2).flatten(2)


def modules(layout: Layout) -> list[nn.Module]:
    """Return the attention modules of a model's blocks."""
    return [block.attention._module for block in layout.blocks]  # noqa: SLF001
