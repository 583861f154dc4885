"""A query as every batch of one call sees it."""

from dataclasses import dataclass

from torch import Tensor

from patchgrid.core.means import Means
from patchgrid.core.query import Query
from patchgrid.engine.runs.batches import Batch


@dataclass(frozen=True, slots=True)
class Question:
    """A query, and what one call adds to it."""

    query: Query
    #: Keep the positions of sites with very many components, or sum over them.
    keep_positions: bool = True
    #: Mean activations, for the source `mean`.
    means: Means | None = None

    @property
    def sites(self) -> tuple[str, ...]:
        """The query's sites."""
        return self.query.sites

    @property
    def denoises(self) -> bool:
        """Whether the base run is the corrupted one."""
        return self.query.direction == "denoise"

    def sides(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the token ids of the base run and of the source run."""
        return (batch.corrupted, batch.clean) if self.denoises else (batch.clean, batch.corrupted)

    def base_prompts(self, batch: Batch) -> list[tuple[int, ...]]:
        """Return the token ids of the base run, without padding."""
        return [pair.corrupted if self.denoises else pair.clean for pair in batch.pairs]

    def source_prompts(self, batch: Batch) -> list[tuple[int, ...]]:
        """Return the token ids of the source run, without padding."""
        return [pair.clean if self.denoises else pair.corrupted for pair in batch.pairs]
