"""Rows of a forward pass: one per pair, or fewer if pairs share them."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchgrid.engine.runs.batches import Batch


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one side of a batch; `position` is padded, as in the batch."""

    #: int64 `[row, position]`.
    tokens: Tensor
    #: int64 `[row, position]`, 1 for a token, 0 for padding.
    attention_mask: Tensor
    #: int64 `[row, position]`, counted from each row's first token.
    position_ids: Tensor
    #: For each row, a pair of the batch that it belongs to.
    first: tuple[int, ...]
    #: For each pair of the batch, its row.
    row_of: tuple[int, ...]

    @classmethod
    def of(cls, batch: Batch, tokens: Tensor, keys: Sequence[Hashable]) -> "Rows":
        """Take one side of a batch; pairs of equal keys share a row."""
        rows: dict[Hashable, int] = {}
        first: list[int] = []
        for pair, key in enumerate(keys):
            if rows.setdefault(key, len(rows)) == len(first):
                first.append(pair)
        row_of = tuple(rows[key] for key in keys)
        if len(first) == len(keys):
            return cls(tokens, batch.attention_mask, batch.position_ids, tuple(first), row_of)
        index = torch.tensor(first, device=tokens.device)
        masks, positions = batch.attention_mask[index], batch.position_ids[index]
        return cls(tokens[index], masks, positions, tuple(first), row_of)

    @classmethod
    def of_side(cls, batch: Batch, tokens: Tensor, pairs: Sequence[int]) -> "Rows":
        """Take one side of the named pairs of a batch, a row each; a pair may be named several times."""
        index = torch.tensor(pairs, device=tokens.device)
        masks, positions = batch.attention_mask[index], batch.position_ids[index]
        return cls(tokens[index], masks, positions, tuple(pairs), tuple(range(len(pairs))))

    def of_pairs(self, values: Tensor) -> Tensor:
        """From `[row, ...]` to `[pair, ...]`; the same tensor where each pair has a row of its own."""
        if len(self.first) == len(self.row_of):
            return values
        return values[torch.tensor(self.row_of, device=values.device)]
