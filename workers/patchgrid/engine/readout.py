"""From what enters the head at the last position to a metric, with as little vocabulary as that reads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from patchgrid.engine.foundmetrics import find_metric
from patchgrid.engine.loading import LoadedModel
from patchgrid.engine.metrics import Answers, Metric
from patchgrid.engine.tokens import TokenPair

#: Answers of one side of a pair.
Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Readout:
    """What a batch's metric reads, and how."""

    metric: Metric
    #: One row a pair; ids are places among the logits that `logits` gives.
    answers: Answers
    #: From `Activations.last`, `[row, ...]`, to float32 or float64 logits `[row, entry]`.
    logits: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, model: LoadedModel, name: str, pairs: Sequence[TokenPair]) -> "Readout":
        """Choose the shortest way to a metric of these pairs that the model allows."""
        metric = find_metric(name)
        correct, incorrect = [pair.correct for pair in pairs], [pair.incorrect for pair in pairs]
        if not model.shortcuts.head:
            answers = Answers.of(correct, incorrect, model.device)
            return cls(metric, answers, lambda logits: logits.float())
        assert model.layout.head is not None, "a model without a head has no such shortcut"
        head = model.layout.head._module  # noqa: SLF001 (the torch module itself: no trace is under way)
        if not metric.reads_answers_only:
            answers = Answers.of(correct, incorrect, model.device)
            return cls(metric, answers, lambda last: head(last).float())
        return cls(metric, *_answers_only(model, head, correct, incorrect))

    @property
    def needs_clean(self) -> bool:
        """Whether the metric compares with the clean run."""
        return self.metric.needs_clean

    def log_probabilities(self, clean: Tensor) -> Tensor:
        """From `Activations.last` of clean runs, `[row, ...]`, to what is compared with, `[row, entry]`."""
        return self._logits(clean.detach()).log_softmax(-1)

    def measure(self, last: Tensor, clean: Tensor | None, pairs: Tensor | None = None) -> Tensor:
        """Apply the metric.

        Parameters
        ----------
        last
            `Activations.last` of the runs that are measured, `[row, ...]`.
        clean
            `log_probabilities` of the clean runs, one row a pair; None where the metric does not need them.
        pairs
            int64 `[row]`, each row's pair; None: one row a pair.

        Returns
        -------
        `[row]`, float32, or float64 where the logits are.
        """
        answers = self.answers if pairs is None else self.answers.rows(pairs)
        if pairs is not None and clean is not None:
            clean = clean[pairs]
        return self.metric.function(self._logits(last), answers, clean)

    def _logits(self, last: Tensor) -> Tensor:
        # The head may lie on another device than the embeddings.
        return self.logits(last).to(self.answers.correct.device)


def _answers_only(
    model: LoadedModel, head: torch.nn.Linear, correct: Sequence[Tokens], incorrect: Sequence[Tokens]
) -> tuple[Answers, Callable[[Tensor], Tensor]]:
    """Give answers as places among those that occur, and what computes the logits of these alone."""
    read = sorted({token for tokens in (*correct, *incorrect) for token in tokens})
    place = {token: number for number, token in enumerate(read)}
    right, wrong = ([[place[token] for token in tokens] for tokens in side] for side in (correct, incorrect))
    # Logits are large and their differences small: in float64 no more is lost than the model lost before.
    exact = torch.float32 if model.device.type == "mps" else torch.float64
    entries = torch.tensor(read, device=head.weight.device)
    weight = head.weight[entries].to(exact)
    bias = None if head.bias is None else head.bias[entries].to(exact)
    return Answers.of(right, wrong, model.device), lambda last: linear(last.to(exact), weight, bias)
