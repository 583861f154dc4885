"""The four metrics, written straight from their definitions."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

#: Last position's logits `[vocabulary]` to a scalar.
Metric = Callable[[Tensor], Tensor]


def make_metric(name: str, correct: Sequence[int], incorrect: Sequence[int], clean_logits: Tensor) -> Metric:
    """Bind a metric to one pair's answers; `kl` is measured from the clean run's distribution."""
    clean = torch.softmax(clean_logits.detach(), dim=-1)

    def logit_diff(logits: Tensor) -> Tensor:
        return logits[list(correct)].mean() - logits[list(incorrect)].mean()

    def logprob(logits: Tensor) -> Tensor:
        return torch.log(torch.softmax(logits, dim=-1)[list(correct)].sum())

    def prob_diff(logits: Tensor) -> Tensor:
        probabilities = torch.softmax(logits, dim=-1)
        return probabilities[list(correct)].sum() - probabilities[list(incorrect)].sum()

    def kl(logits: Tensor) -> Tensor:
        return (clean * (torch.log(clean) - torch.log_softmax(logits, dim=-1))).sum()

    known: dict[str, Metric] = {
        "logit_diff": logit_diff,
        "logprob": logprob,
        "prob_diff": prob_diff,
        "kl": kl,
    }
    return known[name]
