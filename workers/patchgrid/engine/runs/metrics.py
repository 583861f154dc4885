"""Metrics: scalars of the last position's logits, one per pair, never averaged over the batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Answers:
    """The answer tokens of a batch, padded to rectangles."""

    #: int64 `[pair, answer]` token ids, 0 where masked.
    correct: Tensor
    #: float32 `[pair, answer]`, 1 for an answer, 0 for padding.
    correct_mask: Tensor
    incorrect: Tensor
    incorrect_mask: Tensor

    @classmethod
    def of(
        cls, correct: Sequence[Sequence[int]], incorrect: Sequence[Sequence[int]], device: torch.device
    ) -> "Answers":
        """Pad lists of token ids, one list per pair."""
        return cls(*_pad(correct, device), *_pad(incorrect, device))

    def rows(self, index: Tensor) -> "Answers":
        """Take the answers of some pairs, in the order of `index`."""
        return Answers(
            self.correct[index], self.correct_mask[index], self.incorrect[index], self.incorrect_mask[index]
        )


#: From float32 or float64 logits `[pair, vocabulary]`, answers, and the clean run's log-probabilities
#: `[pair, vocabulary]` (None where the metric does not need them) to `[pair]` of the same number type.
Function = Callable[[Tensor, Answers, Tensor | None], Tensor]


@dataclass(frozen=True, slots=True)
class Metric:
    """A scalar of the last position's logits: what computes it, and what it reads."""

    #: Differentiable, and of each pair alone.
    function: Function
    #: It compares with the clean run's distribution: without this it is given None.
    needs_clean: bool = False
    #: It reads the answers' logits and no others: it is then given these alone, and answers numbered again.
    reads_answers_only: bool = False


def logit_diff(logits: Tensor, answers: Answers, _clean: Tensor | None) -> Tensor:
    """Mean logit of the correct answers minus mean logit of the incorrect ones."""
    correct = _mean(logits.gather(1, answers.correct), answers.correct_mask)
    incorrect = _mean(logits.gather(1, answers.incorrect), answers.incorrect_mask)
    return correct - incorrect


def logprob(logits: Tensor, answers: Answers, _clean: Tensor | None) -> Tensor:
    """Natural logarithm of the correct answers' summed probability."""
    picked = logits.log_softmax(-1).gather(1, answers.correct)
    return picked.masked_fill(answers.correct_mask == 0, float("-inf")).logsumexp(-1)


def prob_diff(logits: Tensor, answers: Answers, _clean: Tensor | None) -> Tensor:
    """Summed probability of the correct answers minus that of the incorrect ones."""
    probabilities = logits.softmax(-1)
    correct = (probabilities.gather(1, answers.correct) * answers.correct_mask).sum(-1)
    incorrect = (probabilities.gather(1, answers.incorrect) * answers.incorrect_mask).sum(-1)
    return correct - incorrect


def kl(logits: Tensor, _answers: Answers, clean: Tensor | None) -> Tensor:
    """KL divergence, in nats, of the run's distribution from the clean run's: KL(clean || run)."""
    assert clean is not None
    return (clean.exp() * (clean - logits.log_softmax(-1))).sum(-1)


#: Our own metrics by name.
METRICS: Mapping[str, Metric] = {
    "logit_diff": Metric(logit_diff, reads_answers_only=True),
    "logprob": Metric(logprob),
    "prob_diff": Metric(prob_diff),
    "kl": Metric(kl, needs_clean=True),
}


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum(-1) / mask.sum(-1)


def _pad(lists: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    width = max(len(ids) for ids in lists)
    ids = torch.zeros(len(lists), width, dtype=torch.int64)
    mask = torch.zeros(len(lists), width)
    for row, tokens in enumerate(lists):
        ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
        mask[row, : len(tokens)] = 1
    return ids.to(device), mask.to(device)
