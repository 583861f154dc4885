"""A stand-in for `Engine`, to test code that runs or reads jobs without a model or torch.

    database = Database.open("sqlite:///test.db", create=True)
    engine = load(ModelKey("any name"))
    run_job(database, engine, job, ...)

Scores are random numbers seeded by the pair's text: the same in any batch, chunk and process; effects are
1.25 * score + 0.1 (`effect_of`). A word in a pair's clean prompt causes a fault:

- KILL ends the process with SIGKILL, EXIT with exit code 3, SEGFAULT crashes it, HANG sleeps forever;
- RAISE raises RuntimeError, CUDA the error of a broken GPU, REFUSE the error for a site that the model lacks;
- MEMORY raises MemoryError, OOM makes the pair too large for the GPU, NAN its metrics NaN, INF a score of a
  further method infinite;
- WRONG makes the clean run prefer the incorrect answer, SWAPPED the corrupted run the correct one as well.
"""

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.errors import ModelError, SpecError
from patchgrid.core.graph import Graph
from patchgrid.core.means import Means
from patchgrid.core.query import Query
from patchgrid.core.sites import EDGE, SITES, WIDE_SITES
from patchgrid.core.types import Component, Pair
from patchgrid.engine.results import Measured, PairResult
from patchgrid.storage.chunks.provenance import Provenance
from patchgrid.storage.results.verification import SHARED
from patchgrid.workers.measuring.models import Choose, ModelKey

LAYERS, HEADS, KV_HEADS, NEURONS = 2, 3, 1, 8
GRAPH = Graph(LAYERS, HEADS, KV_HEADS)
#: Seconds that a pair's scores take by a method, and its patching.
SCORING, PATCHING = 0.25, 2.0
#: Models whose name begins so cannot be loaded.
UNLOADABLE = "unloadable"

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StandInLayout:
    """The sizes of a model."""

    n_layers: int = LAYERS
    n_heads: int = HEADS


@dataclass(slots=True)
class StandIn:
    """An engine whose scores are made from each pair's text."""

    #: Where its numbers come from.
    provenance: Provenance
    #: Pairs a batch.
    batch: int = 8
    #: Seconds that a batch takes, and each of its pairs.
    seconds: float = 0.0
    pair_seconds: float = 0.0
    #: Called with each batch's pairs before it is computed.
    on_begin: Callable[[Sequence[Pair]], None] | None = None
    layout: StandInLayout = field(default_factory=StandInLayout)
    #: It was told to close.
    closed: bool = False
    graph: Graph = GRAPH

    def check_query(self, query: Query) -> None:
        """Refuse nothing: a query has what any model supports."""

    def attribute(
        self,
        pairs: Sequence[Pair],
        query: Query | None = None,
        *,
        means: Means | None = None,  # noqa: ARG002
        keep_positions: bool = True,
        batch_tokens: int | None = None,  # noqa: ARG002
        on_batch: Callable[[float], None] = lambda _finished: None,
        **settings: Any,
    ) -> list[PairResult]:
        """Score every pair at the sites."""
        query, results = Query.of(query, **settings), []
        for group in self._batches(pairs):
            scored = [_score(pair, query.sites, query.method_names, keep_positions) for pair in group]
            results += [
                _skipped(each) if query.only_correct and each.clean_preference < 0 else each
                for each in scored
            ]
            on_batch(len(group))
        return results

    def means(
        self,
        pairs: Sequence[Pair],
        sites: Sequence[str],
        *,
        on_batch: Callable[[float], None] = lambda _finished: None,
        **_options: object,
    ) -> Means:
        """Return vectors made of the pairs' texts, their number first."""
        numbers = np.zeros(4)
        for group in self._batches(pairs):
            numbers += sum((np.r_[1, _rng(pair, "means").normal(size=3)] for pair in group), np.zeros(4))
            on_batch(len(group))
        return Means({site: np.tile(numbers, (LAYERS, 1)).astype(np.float32) for site in sites})

    def measure(
        self,
        pairs: Sequence[Pair],
        choose: Choose | None,
        query: Query | None = None,
        *,
        on_batch: Callable[[float], None] = lambda _finished: None,
        **options: Any,
    ) -> list[Measured]:
        """Score every pair, then patch what is chosen; either takes its time."""
        if choose is None:
            return [Measured(result) for result in self.attribute(pairs, query, on_batch=on_batch, **options)]
        results = self.attribute(pairs, query, on_batch=lambda count: on_batch(count / 2), **options)
        for group in self._batches(pairs):
            on_batch(len(group) / 2)
        measured = [place for place, result in enumerate(results) if not result.skipped]
        chosen = choose(measured, [results[place] for place in measured])
        patched = dict(zip(measured, chosen, strict=True))
        return [
            self._patched(pair, result, patched.get(place, ()))
            for place, (pair, result) in enumerate(zip(pairs, results, strict=True))
        ]

    def _patched(self, pair: Pair, result: PairResult, components: Sequence[Component]) -> Measured:
        """Return the effects of components: a fixed function of their scores."""
        effects = [effect_of(pair, component) for component in components]
        return Measured(result, tuple(components), np.array(effects, dtype=np.float32), seconds=PATCHING)

    def close(self) -> None:
        """Release the model."""
        self.closed = True

    def _batches(self, pairs: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
        for start in range(0, len(pairs), self.batch):
            group = pairs[start : start + self.batch]
            if self.on_begin is not None:
                self.on_begin(group)
            # What was measured before is on its way into the database when trouble comes.
            time.sleep(self.seconds + self.pair_seconds * len(group))
            for pair in group:
                _make_trouble(pair)
            yield group


def load(
    key: ModelKey,
    *,
    batch: int = 8,
    seconds: float = 0.0,
    pair_seconds: float = 0.0,
    on_begin: Callable[[Sequence[Pair]], None] | None = None,
) -> StandIn:
    """Return the engine of a model; `ModelError` for one whose name begins with `UNLOADABLE`."""
    if key.model.startswith(UNLOADABLE):
        raise ModelError(f"no model folder at {key.model}")
    weights = hashlib.sha256(key.model.encode()).hexdigest()
    versions = {"patchgrid": "0.1.0"}
    provenance = Provenance(key.model, key.revision, "config", weights, versions, "float32", "cpu", seed=0)
    return StandIn(provenance, batch=batch, seconds=seconds, pair_seconds=pair_seconds, on_begin=on_begin)


def make_pairs(count: int, words: dict[int, str] | None = None) -> list[Pair]:
    """Return distinct pairs of 3 to 5 tokens; `words` are put into the pairs they name."""
    return [_pair(index, (words or {}).get(index)) for index in range(count)]


def _pair(index: int, word: str | None) -> Pair:
    end = " ".join(["to"] * (index % 3))
    clean, corrupted = (f"{side} {index} {word or 'gave'} {end}".strip() for side in ("Mary", "John"))
    return Pair(clean, corrupted, (" a",), (" b",))


def _make_trouble(pair: Pair) -> None:
    words = pair.clean.split()
    if "KILL" in words:
        os.kill(os.getpid(), signal.SIGKILL)
    if "EXIT" in words:
        os._exit(3)
    if "SEGFAULT" in words:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    if "MEMORY" in words:
        raise MemoryError
    if "RAISE" in words:
        raise RuntimeError("the pair makes trouble")
    if "REFUSE" in words:
        raise SpecError("this model has no site 'q'")
    if "CUDA" in words:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    while "HANG" in words:
        time.sleep(1)


def _score(pair: Pair, sites: Sequence[str], methods: Sequence[str], keep_positions: bool) -> PairResult:
    words, others = pair.clean.split(), pair.corrupted.split()
    if len(words) != len(others):
        return PairResult(error=f"the prompts differ in length: {len(words)} and {len(others)} tokens")
    if "OOM" in words:
        return PairResult(error=f"out of memory with a batch of this pair alone ({len(words)} tokens)")
    if "NAN" in words:
        return PairResult(
            error="the metric of the clean run is not finite: the model's logits are NaN or infinite"
        )
    clean, corrupted = _rng(pair, "metrics").normal(size=2).tolist()
    scores = {
        method: {site: _scores_of(pair, site, method, keep_positions) for site in sites} for method in methods
    }
    preference = abs(float(_rng(pair, "preference").normal())) + 0.1
    wrong, swapped = "WRONG" in words, "SWAPPED" in words
    return PairResult(
        scores,
        clean,
        corrupted,
        -preference if wrong or swapped else preference,
        preference if swapped else -preference,
        tuple(words),
        tuple(others),
        tuple(map(str, pair.correct)),
        tuple(map(str, pair.incorrect)),
        seconds=dict.fromkeys((SHARED, *methods), SCORING),
    )


def _skipped(result: PairResult) -> PairResult:
    """Return a pair's result without its scores."""
    return replace(result, scores={}, skipped=True)


def _scores_of(pair: Pair, site: str, method: str, keep_positions: bool) -> Floats:
    scores = site_scores(pair, site, method)
    return scores.sum(axis=1) if site in WIDE_SITES and not keep_positions else scores


def site_scores(pair: Pair, site: str, method: str = "atp") -> Floats:
    """Return a pair's scores at a site; those of two methods are close, but not equal."""
    positions = len(pair.clean.split())
    shape: tuple[int, ...] = (LAYERS, positions)
    if site == EDGE:
        shape = (GRAPH.count, positions)
    elif (size := SITES[site].count) is not None:
        shape = (*shape, {"n_heads": HEADS, "n_kv_heads": KV_HEADS, "d_mlp": NEURONS}[size])
    scores = _rng(pair, site).normal(size=shape)
    if method in ("atp", "eap"):
        return scores.astype(np.float32)
    scores = 0.8 * scores + 0.2 * _rng(pair, f"{site} by {method}").normal(size=shape)
    if "INF" in pair.clean.split():
        scores.flat[0] = np.inf
    return scores.astype(np.float32)


def _rng(pair: Pair, what: str) -> np.random.Generator:
    text = f"{pair.clean}\0{pair.corrupted}\0{what}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def effect_of(pair: Pair, component: Component) -> float:
    """Return the effect of a component in a pair: a fixed function of its score by the first method."""
    scores = site_scores(pair, component.site)
    first = component.layer if component.edge is None else GRAPH.number_of(component.edge)
    cell = scores[first] if scores.ndim == 2 else scores[first, :, component.index]
    place = component.position
    cell = cell if place is None else cell[[place] if isinstance(place, int) else list(place)]
    return 1.25 * float(cell.sum()) + 0.1
