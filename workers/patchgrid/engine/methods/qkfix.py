"""What a changed query or key does to the metric through the full softmax, and the gradient after it.

Kramár et al. 2024, arXiv 2403.00745, the QK fix: a query's softmax is recomputed; for a key, each query's
softmax with that one logit moved, all of them together in O(positions²).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from patchgrid.engine.sites.attention import LOWEST, Pattern

#: Largest number of logits that are held at once, for all rows and heads.
_MOST = 2**22


@dataclass(frozen=True, slots=True)
class Attended:
    """One layer's attention in the base run; float32, key-value heads repeated for their query heads."""

    pattern: Pattern
    #: `[row, head, query position, head_dim]`: the last queries of the run, or all.
    queries: Tensor
    #: `[row, head, key position, head_dim]`: all keys and values, those before the run's own first.
    keys: Tensor
    values: Tensor
    #: The metric's gradient at z, `[row, head, query position, head_dim]`.
    slope: Tensor
    #: Place among the run's queries of the first one here.
    first: int = 0

    def of_queries(self, others: Tensor) -> Tensor:
        """Score each query for being replaced: sum_k (p'_k - p_k) dm/dp_k.

        Parameters
        ----------
        others
            `[row, head, query position, head_dim]`, what comes in their place.

        Returns
        -------
        `[row, head, query position]`, in metric units.
        """
        parts = []
        for some in self._slices():
            logits, slopes = self._softmax_input(some)
            mean = (logits.softmax(-1) * slopes).sum(-1, keepdim=True)
            moved = self.pattern.logits(others[:, :, some], self.keys, self.first + some.start)
            moved, _ = self.pattern.with_sinks(moved, moved)
            # Weights add up to 1, so any one number may be taken off the slopes: this one keeps digits.
            parts.append((moved.softmax(-1) * (slopes - mean)).sum(-1))
        return torch.cat(parts, dim=-1)

    def of_keys(self, others: Tensor) -> Tensor:
        """Score each of the last keys for being replaced: summed over the queries, one logit of each moved.

        Parameters
        ----------
        others
            `[row, head, key position, head_dim]`, what comes in place of the last keys.

        Returns
        -------
        `[row, head, key position]`, in metric units.
        """
        total = others.new_zeros(others.shape[:3])
        for some in self._slices():
            logits, slopes = self._softmax_input(some)
            moved = self.pattern.logits(self.queries[:, :, some], others, self.first + some.start)
            total += _one_moved(logits, slopes, moved).sum(2)
        return total

    def _softmax_input(self, some: slice) -> tuple[Tensor, Tensor]:
        """Logits of some queries, and the metric's gradient at each of their weights."""
        logits = self.pattern.logits(self.queries[:, :, some], self.keys, self.first + some.start)
        return self.pattern.with_sinks(logits, self.slope[:, :, some] @ self.values.transpose(-1, -2))

    def _slices(self) -> Iterator[slice]:
        rows, heads, count, _ = self.queries.shape
        step = max(1, _MOST // (rows * heads * self.keys.shape[2]))
        for begin in range(0, count, step):
            yield slice(begin, min(begin + step, count))


def _one_moved(logits: Tensor, slopes: Tensor, moved: Tensor) -> Tensor:
    """Move one logit at a time: (sigmoid(L + d) - sigmoid(L)) (g_t - m_t).

    L is the logit less the logsumexp of all others, d what is added to it, g_t the slope at its weight and
    m_t the slopes' mean under the softmax of the others. The others' sum is that of all less its own, but
    for the largest, of which too little would be left: that one is recomputed.

    Parameters
    ----------
    logits, slopes
        `[..., query position, key]`.
    moved
        `[..., query position, last keys]`, each in place of its own logit.

    Returns
    -------
    `[..., query position, last keys]`.
    """
    width, last = logits.shape[-1], slice(-moved.shape[-1], None)
    weights, largest = logits.softmax(-1), logits.argmax(-1, keepdim=True)
    own, weight, slope = logits[..., last], weights[..., last], slopes[..., last]
    mean = (weights * slopes).sum(-1, keepdim=True)
    odds = own - logits.logsumexp(-1, keepdim=True) - torch.log1p(-weight)
    others = (mean - weight * slope) / (1 - weight)

    without = logits.scatter(-1, largest, LOWEST)
    is_largest = torch.arange(width, device=logits.device)[last] == largest
    odds = torch.where(is_largest, own - without.logsumexp(-1, keepdim=True), odds)
    mean_without = (without.softmax(-1) * slopes).sum(-1, keepdim=True)
    others = torch.where(is_largest, mean_without, others)
    return _sigmoid_change(odds, moved - own) * (slope - others)


def _sigmoid_change(odds: Tensor, change: Tensor) -> Tensor:
    """sigmoid(odds + change) - sigmoid(odds), with the digits of its small side."""
    turned = odds > 0
    before = torch.where(turned, -odds, odds)
    after = torch.where(turned, -odds - change, odds + change)
    return torch.where(turned, -1, 1) * (after.sigmoid() - before.sigmoid())
