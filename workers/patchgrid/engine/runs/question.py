"""What is asked of every batch of one call."""

from dataclasses import dataclass

from torch import Tensor

from patchgrid.core.means import Means
from patchgrid.core.query import Asked
from patchgrid.engine.runs.batches import Batch


@dataclass(frozen=True, slots=True)
class Question:
    """Sites, metric, direction and what goes with the methods."""

    sites: tuple[str, ...]
    metric: str
    #: `denoise`: clean activations into the corrupted run; `noise`: the other way round.
    direction: str
    #: One of `names.SOURCES`.
    source: str = "pair"
    #: Points of the path that gradients are averaged over.
    steps: int = 5
    #: One of `names.PATHS`.
    path: str = "embedding"
    #: Whether gradients are dropped (GradDrop).
    grad_drop: bool = False
    #: Keep the positions of sites with very many components, or sum over them.
    keep_positions: bool = True
    #: Mean activations, for the source `mean`.
    means: Means | None = None

    @classmethod
    def of(cls, asked: Asked, means: Means | None, *, keep_positions: bool) -> "Question":
        """Take what was asked, once it is checked."""
        return cls(
            asked.sites,
            asked.metric,
            asked.direction,
            asked.source,
            asked.steps,
            asked.path,
            asked.grad_drop,
            keep_positions,
            means,
        )

    def sides(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give the token ids of the base run and of the source run."""
        return (
            (batch.corrupted, batch.clean) if self.direction == "denoise" else (batch.clean, batch.corrupted)
        )

    def base_prompts(self, batch: Batch) -> list[tuple[int, ...]]:
        """Give the token ids of the base run, without padding."""
        return [pair.corrupted if self.direction == "denoise" else pair.clean for pair in batch.pairs]

    def source_prompts(self, batch: Batch) -> list[tuple[int, ...]]:
        """Give the token ids of the source run, without padding."""
        return [pair.clean if self.direction == "denoise" else pair.corrupted for pair in batch.pairs]
