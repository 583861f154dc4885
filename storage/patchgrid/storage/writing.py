"""What a worker hands in for a chunk, and how it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from patchgrid.estimates.sums import Sums
from patchgrid.storage.provenance import Provenance

#: The two kinds of sums: over all positions at once (axes `[layer(, head)]`), and by aligned position (axes
#: `[layer, position(, head)]`).
KINDS = ("whole", "aligned")


@dataclass(frozen=True, slots=True)
class PairOutcome:
    """What became of one pair."""

    #: Row number in the job.
    index: int
    #: `done` or `failed`.
    state: str
    #: Why it failed, else None.
    error: str | None = None
    #: What the user should know though it was measured.
    warning: str | None = None
    #: The clean prompt's tokens as text.
    tokens: tuple[str, ...] = ()
    #: The corrupted prompt's tokens as text.
    corrupted_tokens: tuple[str, ...] = ()
    #: Metric of the unpatched clean run, None where the pair failed.
    clean_metric: float | None = None
    #: Metric of the unpatched corrupted run.
    corrupted_metric: float | None = None


@dataclass(frozen=True, slots=True)
class ExactCell:
    """One component of one pair that was patched exactly."""

    #: Row number of the pair in the job.
    index: int
    #: One of `names.SITES`.
    site: str
    #: Layer, from 0.
    layer: int
    #: Head within the layer, or None.
    head: int | None
    #: Neuron within the layer, or None.
    neuron: int | None
    #: Index into the pair's own tokens from 0, or None: all positions at once, or a span.
    position: int | None
    #: Name of the span that was patched, or None.
    span: str | None
    #: Attribution score, metric units.
    score: float
    #: Exact effect, metric units.
    effect: float
    #: Probability with which the cell was drawn, above 0 and up to 1.
    inclusion: float


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """All that is stored of a chunk."""

    #: What made the numbers.
    provenance: Provenance
    #: One for each pair of the chunk, in order.
    outcomes: Sequence[PairOutcome]
    #: (site, kind) to the sums over the chunk's done pairs.
    sums: Mapping[tuple[str, str], Sums]
    #: Site to one float32 array for each *done* pair, in order: `[layer(, head)]` (detail `pairs`) or
    #: `[layer, position(, head)]` (detail `positions`); empty for `summary`.
    scores: Mapping[str, Sequence[NDArray[np.float32]]] = field(default_factory=dict)
    #: Cells patched exactly, in any order.
    exact: Sequence[ExactCell] = ()
    #: Seconds the chunk took to compute.
    seconds: float = 0.0
