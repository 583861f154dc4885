"""A worker's models: loaded once and cached; least recently used ones are evicted when memory is short."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from patchgrid.core.graph import Graph
from patchgrid.core.means import Means
from patchgrid.core.query import Query
from patchgrid.core.types import Component, JobSpec, Pair
from patchgrid.engine.results import Measured, PairResult
from patchgrid.workers.measuring.causes import reason_of

_log = logging.getLogger(__name__)

#: Takes the number of pairs that a batch finished; what it raises ends the call.
OnBatch = Callable[[float], None]
#: From places of pairs and their scores to the components to patch in each.
Choose = Callable[[Sequence[int], Sequence[PairResult]], Sequence[Sequence[Component]]]


class Source(Protocol):
    """Where a model's numbers come from; `patchgrid.engine.checkpoint.provenance.ModelProvenance` is one."""

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

    @property
    def graph(self) -> Graph:
        """How the model's edges are named and numbered; needed where edges are measured."""

    def attribute(
        self,
        pairs: Sequence[Pair],
        query: Query,
        *,
        means: Means | None,
        keep_positions: bool,
        batch_tokens: int | None,
        on_batch: OnBatch,
    ) -> Sequence[PairResult]:
        """Score every component of the sites for every pair."""

    def means(
        self,
        pairs: Sequence[Pair],
        sites: Sequence[str],
        *,
        direction: str,
        prepend_bos: bool | None,
        batch_tokens: int | None,
        on_batch: OnBatch,
    ) -> Means:
        """Average each site's activation over the pairs' source prompts and their positions."""

    def measure(
        self,
        pairs: Sequence[Pair],
        choose: Choose | None,
        query: Query,
        *,
        means: Means | None,
        keep_positions: bool,
        batch_tokens: int | None,
        on_batch: OnBatch,
    ) -> list[Measured]:
        """Score every pair, and patch exactly the components that are chosen by their scores."""


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
        """Return the key of a job's model."""
        return cls(spec.model, spec.revision, spec.dtype)


def keeps_positions(spec: JobSpec) -> bool:
    """Tell whether scores of very large sites are needed by position."""
    return spec.positions == "keep" or spec.detail == "positions"


class Memory(Protocol):
    """What holds the models; `patchgrid.workers.node.device.Device` is one."""

    def used(self) -> int:
        """Return the bytes in use."""

    def free(self) -> None:
        """Free cached memory."""


class Models:
    """The loaded models, the one used last at the end."""

    def __init__(self, load: Callable[[ModelKey], Engine], memory: Memory, limit: Callable[[], int]) -> None:
        self._load = load
        self._memory = memory
        self._limit = limit
        self._engines: OrderedDict[ModelKey, Engine] = OrderedDict()

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the models that are loaded, the one used last at the end."""
        return tuple(key.model for key in tuple(self._engines))

    def has(self, spec: JobSpec) -> bool:
        """Tell whether a job's model is loaded."""
        return ModelKey.of(spec) in self._engines

    def get(self, spec: JobSpec) -> Engine:
        """Return the engine of a job's model, loading it if needed; raises what loading it raises.

        Least recently used models are evicted while all of them exceed the limit, and
        all of them if the new one does not fit otherwise.
        """
        key = ModelKey.of(spec)
        engine = self._engines.get(key)
        if engine is None:
            began = time.monotonic()
            engine = self._load_beside_others(key)
            _log.info("loaded %s in %.1f s", key.model, time.monotonic() - began)
            self._engines[key] = engine
        self._engines.move_to_end(key)
        while len(self._engines) > 1 and self._memory.used() > self._limit():
            self._give_up_oldest("not enough memory")
        return engine

    def _load_beside_others(self, key: ModelKey) -> Engine:
        try:
            return self._load(key)
        except Exception as error:
            if not self._engines or "memory" not in str(error):
                raise
            reason = reason_of(error)
        # Outside the handler: the error holds on to what was loaded so far.
        while self._engines:
            self._give_up_oldest(f"{key.model} needs its memory ({reason})")
        return self._load(key)

    def _give_up_oldest(self, why: str) -> None:
        key, _ = self._engines.popitem(last=False)
        self._memory.free()
        _log.info("evicted %s: %s", key.model, why)
