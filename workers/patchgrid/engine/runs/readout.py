"""From what enters the head at the last position to a metric, with as little vocabulary as that reads.

Whatever the model's own number type, logits are float32, and float64 where only the answers' are read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from patchgrid.core.query import MetricFunction
from patchgrid.engine.model.loading import LoadedModel
from patchgrid.engine.runs.metric_functions import OwnMetric
from patchgrid.engine.runs.metric_plugins import find_metric
from patchgrid.engine.runs.metrics import Answers, Metric
from patchgrid.engine.tokenization.tokens import TokenPair

#: Answers of one side of a pair.
Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Logits:
    """Some of the vocabulary's logits, and where a batch's answers are among them."""

    #: One row a pair; ids are places among the logits.
    answers: Answers
    #: From `Activations.last`, `[row, ...]`, to float32 or float64 `[row, entry]`.
    of: Callable[[Tensor], Tensor]

    def read(self, last: Tensor, pairs: Tensor | None) -> tuple[Tensor, Answers]:
        """Return rows' logits and answers; `pairs` is each row's pair, None: one row a pair."""
        # The head may lie on another device than the embeddings.
        logits = self.of(last).to(self.answers.correct.device)
        return logits, self.answers if pairs is None else self.answers.rows(pairs)


@dataclass(frozen=True, slots=True)
class Readout:
    """What a batch's metric reads, and how."""

    metric: Metric
    #: What the metric is given.
    logits: Logits
    #: The answers' logits, with no others where the model allows that.
    answers: Logits

    #: The metric given as a function; None: `metric` is one with a name.
    own: OwnMetric | None = None

    @classmethod
    def of(cls, model: LoadedModel, metric: str | MetricFunction, pairs: Sequence[TokenPair]) -> "Readout":
        """Choose the shortest way to a metric of these pairs that the model allows."""
        if callable(metric):
            # Of the metrics with a name, one that reads all logits and compares with no run.
            return replace(cls.of(model, "logprob", pairs), own=OwnMetric(metric, pairs))
        return cls._of_name(model, find_metric(metric), pairs)

    @classmethod
    def _of_name(cls, model: LoadedModel, metric: Metric, pairs: Sequence[TokenPair]) -> "Readout":
        sides = [pair.correct for pair in pairs], [pair.incorrect for pair in pairs]
        if not model.shortcuts.head:
            logits_of_all = Logits(Answers.of(*sides, model.device), lambda logits: logits)
            return cls(metric, logits_of_all, logits_of_all)
        answers = _answers_only(model, *sides)
        if metric.reads_answers_only:
            return cls(metric, answers, answers)
        return cls(metric, Logits(Answers.of(*sides, model.device), _all(model)), answers)

    @property
    def needs_clean(self) -> bool:
        """Whether the metric compares with the clean run."""
        return self.metric.needs_clean

    def log_probabilities(self, clean: Tensor) -> Tensor:
        """From `Activations.last` of clean runs, `[row, ...]`, to what is compared with, `[row, entry]`."""
        return self.logits.read(clean.detach(), None)[0].log_softmax(-1)

    def preference(self, last: Tensor, pairs: Tensor | None = None) -> Tensor:
        """Return ln(P(correct) / P(incorrect)), the answers of each side summed, whatever the metric.

        Parameters are those of `measure`. Above 0 the run prefers the correct answers.

        Returns
        -------
        `[row]`, float64, or float32 where the logits are.
        """
        logits, answers = self.answers.read(last, pairs)
        correct = _summed(logits, answers.correct, answers.correct_mask)
        return correct - _summed(logits, answers.incorrect, answers.incorrect_mask)

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
        if self.own is not None:
            return self.own.measure(self.logits.read(last, pairs)[0], pairs)
        if pairs is not None and clean is not None:
            clean = clean[pairs]
        return self.metric.function(*self.logits.read(last, pairs), clean)


def _summed(logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    return logits.gather(1, tokens).masked_fill(mask == 0, float("-inf")).logsumexp(-1)


def _all(model: LoadedModel) -> Callable[[Tensor], Tensor]:
    head, transform = model.head, model.transform
    assert head is not None, "a model without a head has no such shortcut"
    assert transform is not None, "it is known where that shortcut is taken"
    return lambda last: transform(head.all(last))


def _answers_only(model: LoadedModel, correct: Sequence[Tokens], incorrect: Sequence[Tokens]) -> Logits:
    """Return answers as places among those that occur, and what computes the logits of these alone."""
    head, transform = model.head, model.transform
    assert head is not None, "a model without a head has no such shortcut"
    assert transform is not None, "it is known where that shortcut is taken"
    read = sorted({token for tokens in (*correct, *incorrect) for token in tokens})
    place = {token: number for number, token in enumerate(read)}
    right, wrong = ([[place[token] for token in tokens] for tokens in side] for side in (correct, incorrect))
    # Logits are large and their differences small: in float64 no more is lost than the model lost before.
    logits = head.some(read)
    return Logits(Answers.of(right, wrong, model.device), lambda last: transform(logits(last)))
