"""Everything that is kept of one pair."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from patchgrid.engine.types import Pair, short_name
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.writing import ExactCell


@dataclass(frozen=True, slots=True)
class TopComponent:
    """One of a pair's components of largest |score|."""

    #: One of `names.SITES`.
    site: str
    #: Layer, from 0.
    layer: int
    #: Head within the layer, or None.
    head: int | None
    #: Neuron within the layer, or None.
    neuron: int | None
    #: Score over all positions, metric units.
    score: float

    @property
    def name(self) -> str:
        """The short name the field writes: `a9.h6`."""
        return short_name(self.site, self.layer, self.head)


@dataclass(frozen=True, slots=True)
class PairView:
    """One pair: its input, what became of it, and its scores."""

    #: Row number in the job.
    index: int
    #: The given id, else the row number.
    name: int | str
    #: The pair as it was given.
    pair: Pair
    #: `pending`, `done` or `failed`.
    state: str
    #: Why it failed, else None.
    error: str | None
    #: What the user should know though it was measured.
    warning: str | None
    #: The clean prompt's tokens as text.
    tokens: tuple[str, ...]
    #: The corrupted prompt's tokens as text.
    corrupted_tokens: tuple[str, ...]
    #: Metric of the unpatched clean run, or None.
    clean_metric: float | None
    #: Metric of the unpatched corrupted run, or None.
    corrupted_metric: float | None
    #: Site to float32 `[layer(, head)]` (detail `pairs`) or `[layer, position(, head)]` (`positions`); empty:
    #: not kept.
    scores: Mapping[str, NDArray[np.float32]]
    #: The components of largest |score|, the largest first.
    top: tuple[TopComponent, ...]
    #: The pair's cells that were patched exactly.
    exact: tuple[ExactCell, ...]

    @property
    def spans(self) -> Mapping[str, tuple[int, int]]:
        """Named token ranges of the pair; empty without."""
        return self.pair.spans or {}


def pair(session: Session, job: JobRecord, name: int | str) -> PairView:
    """Give one pair by its id, else by its row number; `PairNotFound` if the job has none such."""
    raise NotImplementedError
