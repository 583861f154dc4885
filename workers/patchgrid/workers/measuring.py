"""One chunk measured: attribution for every pair, exact patching for the cells drawn, the sums of both."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from patchgrid.engine.results import Measured, PairResult
from patchgrid.engine.types import Component, Pair
from patchgrid.estimates import Sums
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.provenance import Provenance
from patchgrid.storage.sums import KINDS
from patchgrid.storage.writing import ChunkResult, PairOutcome
from patchgrid.workers.cells import Cells, Sampler, add_cells, by_pair, components, exact_cells
from patchgrid.workers.components import Floats, Scores
from patchgrid.workers.models import Engine

#: Takes the share of the chunk's work that is done, 0 to 1; what it raises ends the measuring.
OnShare = Callable[[float], None]


class _Chunk:
    """A chunk on its way: the scores of its pairs and the cells drawn of them, by the pairs' places in it."""

    def __init__(self, job: JobRecord, first: int, pairs: Sequence[Pair], pilot: Mapping[str, Sums]) -> None:
        self._job = job
        self._sampler = Sampler(job, first, pilot)
        self._drawn: list[Cells] = []
        self.scores = Scores(pairs, job.spans)

    def choose(self, places: Sequence[int], results: Sequence[PairResult]) -> list[list[Component]]:
        """Draw the cells of a batch of pairs; give the components to patch in each."""
        if not self.scores.errors.keys().isdisjoint(places):
            # The batch did not fit into memory and is asked for again in parts.
            self._drawn = [cells[~np.isin(cells["pair"], places)] for cells in self._drawn]
        self.scores.add(places, results)
        cells = self._sampler.draw(self.scores.good(places), self.scores)
        self._drawn.append(cells)
        chosen: dict[int, list[Component]] = {place: [] for place in places}
        named = components(self._job, cells, self.scores.columns)
        for place, component in zip(cells["pair"].tolist(), named, strict=True):
            chosen[place].append(component)
        return list(chosen.values())

    def finish(self, found: Sequence[Measured]) -> dict[int, str | None]:
        """Take in all that the engine found; say of each pair why it failed, None if it did not."""
        rest = [place for place in range(len(found)) if place not in self.scores.errors]
        self.scores.add(rest, [found[place].result for place in rest])
        return {place: self.scores.errors[place] or each.error for place, each in enumerate(found)}

    def cells(self, found: Sequence[Measured]) -> Cells:
        """Give all cells by pair, their effects among the rest; a pair that failed since has none."""
        cells = by_pair(self._drawn)
        failed = [place for place, each in enumerate(found) if each.result.error is not None]
        cells = cells[~np.isin(cells["pair"], failed)]
        effects = np.concatenate([each.effects for each in found])
        assert len(effects) == len(cells), "the engine gives one effect a component"
        cells["effect"] = effects
        return cells


def measure_chunk(
    engine: Engine,
    job: JobRecord,
    first: int,
    pairs: Sequence[Pair],
    *,
    pilot: Mapping[str, Sums] | None = None,
    batch_tokens: int | None = None,
    on_share: OnShare = lambda _share: None,
) -> ChunkResult:
    """Measure one chunk of a job.

    Parameters
    ----------
    first
        Row number of the chunk's first pair in the job.
    pairs
        The chunk's pairs, in order.
    pilot
        The job's pilot by site. Without one every component counts as equally large.
    """
    began = time.perf_counter()
    spec = job.spec
    chunk = _Chunk(job, first, pairs, pilot or {})
    finished = 0.0

    def on_batch(count: float) -> None:
        nonlocal finished
        finished += count
        on_share(min(1.0, finished / len(pairs)))

    found = engine.measure(
        pairs,
        chunk.choose if spec.exact > 0 else None,
        sites=spec.sites,
        method=spec.method,
        direction=spec.direction,
        metric=spec.metric,
        prepend_bos=spec.prepend_bos,
        batch_tokens=batch_tokens,
        on_batch=on_batch,
    )
    errors = chunk.finish(found)
    done = [place for place, error in errors.items() if error is None]
    cells = chunk.cells(found)
    cells = cells[np.isin(cells["pair"], done)]
    return ChunkResult(
        provenance=provenance_of(engine, job),
        outcomes=[_outcome(first + place, each.result, errors[place]) for place, each in enumerate(found)],
        sums=_sums(job, chunk.scores, done, cells, np.array([_total_effect(each) for each in found])),
        scores=_kept_scores(job, chunk.scores, done, found),
        exact=exact_cells(job, first, cells, chunk.scores.columns),
        seconds=time.perf_counter() - began,
    )


def _total_effect(found: Measured) -> float:
    """Say how far the two prompts' metrics are apart."""
    return found.result.clean_metric - found.result.corrupted_metric


def _sums(
    job: JobRecord, scores: Scores, done: Sequence[int], cells: Cells, total_effects: NDArray[np.float64]
) -> dict[tuple[str, str], Sums]:
    """Add up the chunk: whole components and aligned ones, the sampled cells to the kind that was sampled."""
    sums: dict[tuple[str, str], Sums] = {}
    for (number, site), kind in itertools.product(enumerate(job.spec.sites), KINDS if done else ()):
        sampled = job.spec.exact > 0 and job.kind == kind
        for places, stack in scores.stacks(kind, site, done):
            if (site, kind) not in sums:
                axes = stack.values.shape[1:]
                sums[site, kind] = Sums.zeros(axes, sampled=sampled, aligned=kind == "aligned")
            sums[site, kind].add_pairs(stack.values, stack.present, total_effects=total_effects[places])
        if sampled:
            add_cells(sums[site, kind], job, number, cells, total_effects)
    return sums


def _kept_scores(
    job: JobRecord, scores: Scores, done: Sequence[int], found: Sequence[Measured]
) -> dict[str, list[Floats]]:
    if job.spec.detail == "summary":
        return {}
    if job.spec.detail == "pairs":
        return {site: [scores.whole[site][place] for place in done] for site in job.spec.sites}
    return {site: [found[place].result.scores[site] for place in done] for site in job.spec.sites}


def _outcome(index: int, result: PairResult, error: str | None) -> PairOutcome:
    if error is not None:
        return PairOutcome(index, "failed", error=error)
    return PairOutcome(
        index,
        "done",
        warning=result.warning,
        tokens=result.tokens,
        corrupted_tokens=result.corrupted_tokens,
        clean_metric=result.clean_metric,
        corrupted_metric=result.corrupted_metric,
    )


def provenance_of(engine: Engine, job: JobRecord) -> Provenance:
    """Say what a job's numbers come from when this engine makes them."""
    source = engine.provenance
    return Provenance(
        model=source.model,
        revision=source.revision,
        config_hash=source.config_hash,
        weights_hash=source.weights_hash,
        versions=source.versions,
        dtype=source.dtype,
        device=source.device,
        seed=job.spec.seed,
    )
