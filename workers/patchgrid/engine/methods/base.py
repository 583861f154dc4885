"""What every scoring method takes and returns."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from patchgrid.engine.batches import Batch
from patchgrid.engine.loading import LoadedModel
from patchgrid.engine.metrics import METRICS, Answers


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every batch of one call."""

    sites: tuple[str, ...]
    metric: str
    #: `denoise`: clean activations into the corrupted run; `noise`: the other way round.
    direction: str

    def sides(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give the token ids of the base run and of the source run."""
        return (
            (batch.corrupted, batch.clean) if self.direction == "denoise" else (batch.clean, batch.corrupted)
        )

    def clean_of(self, base: Tensor, source: Tensor) -> Tensor:
        """Pick what belongs to the clean run."""
        return source if self.direction == "denoise" else base

    def measure(self, logits: Tensor, answers: Answers, clean_logits: Tensor) -> Tensor:
        """Apply the metric: float32 `[pair]` from float32 logits `[pair, vocabulary]`."""
        clean = clean_logits.detach().log_softmax(-1) if self.metric == "kl" else None
        return METRICS[self.metric](logits, answers, clean)


@dataclass(frozen=True, slots=True)
class BatchScores:
    """Scores of a batch, on the device; `position` is padded."""

    #: Site to float32 `[pair, layer, position]`, for `z` `[pair, layer, position, head]`.
    scores: dict[str, Tensor]
    #: float32 `[pair]`.
    clean_metric: Tensor
    #: float32 `[pair]`.
    corrupted_metric: Tensor


#: From a model, a batch and the question to scores.
Method = Callable[[LoadedModel, Batch, Question], BatchScores]
