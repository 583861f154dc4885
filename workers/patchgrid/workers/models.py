"""The models of a worker: loaded once, kept warm, the least recently used given up when memory is short."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from patchgrid.engine.results import PairResult
from patchgrid.engine.types import Component, JobSpec, Pair

#: Takes the number of pairs that a batch finished; what it raises ends the call.
OnBatch = Callable[[float], None]


class Source(Protocol):
    """Where a model's numbers come from; `patchgrid.engine.provenance.ModelProvenance` is one."""

    @property
    def model(self) -> str:
        """Hub id or local folder."""

    @property
    def revision(self) -> str | None:
        """Commit on the hub, or None."""

    @property
    def config_hash(self) -> str:
        """Hash of the configuration."""

    @property
    def weights_hash(self) -> str:
        """Hash of the weights."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Package to version."""

    @property
    def dtype(self) -> str:
        """Number type the model runs in."""

    @property
    def device(self) -> str:
        """Device it runs on."""


class Engine(Protocol):
    """What measuring needs of an engine; `patchgrid.engine.Engine` is one, and needs torch."""

    @property
    def provenance(self) -> Source:
        """Where the engine's numbers come from."""

    def attribute(
        self,
        pairs: Sequence[Pair],
        *,
        sites: Sequence[str],
        method: str,
        direction: str,
        metric: str,
        prepend_bos: bool | None,
        batch_tokens: int | None,
        on_batch: OnBatch,
    ) -> list[PairResult]:
        """Score every component of the sites for every pair."""

    def patch_cells(
        self,
        pairs: Sequence[Pair],
        cells: Sequence[tuple[int, Component]],
        *,
        direction: str,
        metric: str,
        prepend_bos: bool | None,
        batch_tokens: int | None,
        on_batch: OnBatch,
    ) -> tuple[NDArray[np.float32], dict[int, str]]:
        """Patch chosen (pair, component) cells exactly."""


@dataclass(frozen=True, slots=True)
class ModelKey:
    """What tells one loaded model from another."""

    #: Hub id or local folder.
    model: str
    #: Hub revision, or None for the default branch.
    revision: str | None = None
    #: Number type.
    dtype: str = "auto"

    @classmethod
    def of(cls, spec: JobSpec) -> "ModelKey":
        """Give the key of the model that a job asks for."""
        return cls(spec.model, spec.revision, spec.dtype)
