"""Batches: pairs sorted by length, filled by tokens, left-padded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from patchgrid.engine.tokenization.tokens import TokenPair


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs of one batch as tensors; `position` is padded, each row's last token at the end."""

    pairs: tuple[TokenPair, ...]
    #: int64 `[pair, position]`.
    clean: Tensor
    corrupted: Tensor
    #: int64 `[pair, position]`, 1 for a token, 0 for padding.
    attention_mask: Tensor
    #: int64 `[pair, position]`, counted from each row's first token.
    position_ids: Tensor
    #: bool `[pair, position]`, true from the first token at which the prompts differ.
    differs: Tensor
    #: For each pair, the padded position of the first token at which its prompts differ.
    starts: tuple[int, ...]

    @property
    def width(self) -> int:
        """Padded number of positions."""
        return self.clean.shape[1]

    def differing_everywhere(self) -> "Batch":
        """Return the batch as it is where what is put in differs from the base run at every token."""
        starts = tuple(self.padding(row) for row in range(len(self.pairs)))
        return replace(self, differs=self.attention_mask.bool(), starts=starts)

    def padding(self, row: int) -> int:
        """Number of padding positions before a row's first token."""
        return self.width - self.pairs[row].length


def fill(
    pairs: Sequence[TokenPair], batch_tokens: Callable[[], int], boundary: int | None = None
) -> Iterator[tuple[TokenPair, ...]]:
    """Group pairs into batches of at most `batch_tokens()` padded tokens, at least one pair each.

    Pairs with about as many tokens from their first difference on come together, as this is what most of
    the work is done for; pairs that share a clean prompt do, too.

    Pairs of up to `boundary` tokens and longer ones never share a batch.
    """
    group: list[TokenPair] = []
    width = 0
    for pair in _in_order(pairs, boundary):
        width = max(width, pair.length)
        full = width * (len(group) + 1) > batch_tokens()
        if group and (full or _is_long(group[-1], boundary) != _is_long(pair, boundary)):
            yield tuple(group)
            group, width = [], pair.length
        group.append(pair)
    if group:
        yield tuple(group)


def _in_order(pairs: Sequence[TokenPair], boundary: int | None) -> list[TokenPair]:
    longest: dict[tuple[int, ...], int] = {}
    for pair in pairs:
        longest[pair.clean] = max(_differing(pair), longest.get(pair.clean, 0))

    def place(pair: TokenPair) -> tuple[bool, int, int, tuple[int, ...]]:
        return _is_long(pair, boundary), longest[pair.clean], pair.length, pair.clean

    return sorted(pairs, key=place)


def _differing(pair: TokenPair) -> int:
    """Count the tokens from the first difference on."""
    return pair.length - pair.first_difference


def _is_long(pair: TokenPair, boundary: int | None) -> bool:
    return boundary is not None and pair.length > boundary


def make_batch(pairs: Sequence[TokenPair], pad: int, device: torch.device) -> Batch:
    """Left-pad pairs to one width.

    Parameters
    ----------
    pairs
        At least one.
    pad
        Token id that fills the padding; it is masked, so any id in the vocabulary will do.
    """
    width = max(pair.length for pair in pairs)
    shape = (len(pairs), width)
    clean, corrupted = torch.full(shape, pad), torch.full(shape, pad)
    mask = torch.zeros(shape, dtype=torch.int64)
    differs = torch.zeros(shape, dtype=torch.bool)
    for row, pair in enumerate(pairs):
        start = width - pair.length
        clean[row, start:] = torch.tensor(pair.clean)
        corrupted[row, start:] = torch.tensor(pair.corrupted)
        mask[row, start:] = 1
        differs[row, start + pair.first_difference :] = True
    position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
    starts = tuple(width - _differing(pair) for pair in pairs)
    return Batch(
        tuple(pairs),
        clean.to(device),
        corrupted.to(device),
        mask.to(device),
        position_ids.to(device),
        differs.to(device),
        starts,
    )
