"""One chunk measured: attribution for every pair, exact patching for the cells drawn, the sums of both."""

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.graph import Graph
from patchgrid.core.means import Means
from patchgrid.core.sites import EDGE, WIDE_SITES
from patchgrid.core.states import PairState
from patchgrid.core.types import Component, Pair
from patchgrid.engine.results import Measured, PairResult
from patchgrid.estimates import Rounding, Sums
from patchgrid.storage.chunks.chunk_result import ChunkResult, PairOutcome, Scored
from patchgrid.storage.chunks.provenance import Provenance
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.verification import EXACT
from patchgrid.storage.sampling.job_sample import JobSample
from patchgrid.workers.measuring.cells import (
    Cells,
    Sampler,
    add_cells,
    by_pair,
    clusters_of,
    components,
    earlier_methods,
    exact_cells,
    scores_by,
)
from patchgrid.workers.measuring.components import Floats, Scores
from patchgrid.workers.measuring.models import Engine, keeps_positions

#: Takes the share of the chunk's work that is done, 0 to 1; what it raises ends the measuring.
OnShare = Callable[[float], None]


class _Chunk:
    """A chunk on its way: the scores of its pairs and the cells drawn of them, by the pairs' places in it."""

    def __init__(
        self,
        job: JobRecord,
        first: int,
        pairs: Sequence[Pair],
        pilot: Mapping[str, Sums],
        graph: Graph | None,
    ) -> None:
        self._job, self.graph = job, graph
        rows = range(first, first + len(pairs))
        sample = JobSample(job.spec, job.pairs, pilot)
        self._sampler = Sampler(job, rows, sample.draw)
        #: Site to the lines that are known of its components.
        self.lines = {site: sample.lines(site) for site in job.spec.query.sites}
        #: Site to the numbers of the pairs' groups.
        self.clusters = {site: clusters_of(pairs, job, site) for site in job.spec.query.sites}
        self._drawn: list[Cells] = []
        self.scores = Scores(pairs, job.spans, job.spec.query.method_names)

    def choose(self, places: Sequence[int], results: Sequence[PairResult]) -> list[list[Component]]:
        """Draw the cells of a batch of pairs; return the components to patch in each."""
        if not self.scores.errors.keys().isdisjoint(places):
            # The batch did not fit into memory and is retried in parts.
            self._drawn = [cells[~np.isin(cells["pair"], places)] for cells in self._drawn]
        self.scores.add(places, results)
        cells = self._sampler.draw(self.scores.good(places), self.scores)
        self._drawn.append(cells)
        return list(components(self._job, cells, places, self.scores.columns, self.graph).values())

    def finish(self, measured: Sequence[Measured]) -> dict[int, str | None]:
        """Take in all that the engine found; say of each pair why it failed, None if it did not."""
        rest = [place for place in range(len(measured)) if place not in self.scores.errors]
        self.scores.add(rest, [measured[place].result for place in rest])
        return {place: self.scores.errors[place] or one.error for place, one in enumerate(measured)}

    def cells(self, measured: Sequence[Measured]) -> Cells:
        """Return all cells by pair, with their effects; a pair that has failed or been skipped has none."""
        cells = by_pair(self._drawn)
        without = [
            place
            for place, each in enumerate(measured)
            if each.result.error is not None or each.result.skipped
        ]
        cells = cells[~np.isin(cells["pair"], without)]
        effects = np.concatenate([each.effects for each in measured])
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
    means: Means | None = None,
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
    means
        The job's means, for the source `mean`.
    """
    began = time.perf_counter()
    spec = job.spec
    chunk = _Chunk(job, first, pairs, pilot or {}, graph_of(engine, job))
    finished = 0.0

    def on_batch(count: float) -> None:
        nonlocal finished
        finished += count
        on_share(min(1.0, finished / len(pairs)))

    measured = engine.measure(
        pairs,
        chunk.choose if spec.patches else None,
        spec.query,
        means=means,
        keep_positions=keeps_positions(spec),
        batch_tokens=batch_tokens,
        on_batch=on_batch,
    )
    result = _result(engine, job, first, chunk, measured)
    return dataclasses.replace(result, seconds=time.perf_counter() - began)


def _result(
    engine: Engine, job: JobRecord, first: int, chunk: _Chunk, measured: Sequence[Measured]
) -> ChunkResult:
    """Put together what is stored of a chunk."""
    spec = job.spec
    errors = chunk.finish(measured)
    done = [place for place, error in errors.items() if error is None and not measured[place].result.skipped]
    cells = chunk.cells(measured)
    cells = cells[np.isin(cells["pair"], done)]
    total_effects = np.array([_total_effect(each) for each in measured])
    by_method = [
        Scored(
            _sums(job, chunk, done, cells, total_effects, method),
            _kept_scores(job, chunk.scores, done, method),
        )
        for method in (None, *spec.query.method_names[1:])
    ]
    return ChunkResult(
        provenance=provenance_of(engine, job),
        outcomes=[_outcome(first + place, each.result, errors[place]) for place, each in enumerate(measured)],
        sums=by_method[0].sums,
        scores=by_method[0].scores,
        exact=exact_cells(job, first, cells, chunk.scores, chunk.graph),
        methods=spec.query.method_names,
        others=dict(zip(spec.query.method_names[1:], by_method[1:], strict=True)),
        cost=_cost(measured, patched=spec.patches),
        rounding=sum((Rounding.of(measured[place].rounding) for place in done), Rounding()),
    )


def _total_effect(measured: Measured) -> float:
    """Return the difference of the two prompts' metrics."""
    return measured.result.clean_metric - measured.result.corrupted_metric


def _cost(measured: Sequence[Measured], *, patched: bool) -> dict[str, float]:
    """Add up the seconds of each method, and of patching."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for each in measured:
        for name, taken in each.result.seconds.items():
            seconds[name] += taken
        if patched:
            seconds[EXACT] += each.seconds
    return dict(seconds)


def _sums(
    job: JobRecord,
    chunk: _Chunk,
    done: Sequence[int],
    cells: Cells,
    total_effects: NDArray[np.float64],
    method: str | None,
) -> dict[tuple[str, str], Sums]:
    """Add up the chunk by one method: whole components and aligned ones.

    The sampled cells go to the kind that was sampled, with the inclusion that the first method gave them.
    """
    scores, earlier = chunk.scores, earlier_methods(job, method)
    others = None
    if earlier:
        others = np.stack([scores_by(job, cells, scores, each) for each in earlier])
        cells = cells.copy()
        cells["score"] = scores_by(job, cells, scores, method or job.method())
    sums: dict[tuple[str, str], Sums] = {}
    for number, site in enumerate(job.spec.query.sites if done else ()):
        clusters = chunk.clusters[site]
        for kind in job.kinds(site):
            sampled = job.spec.patches and job.kind == kind
            for places, stack in scores.stacks(kind, site, done, method):
                if (site, kind) not in sums:
                    sums[site, kind] = Sums.zeros(
                        stack.values.shape[1:],
                        sampled=sampled,
                        aligned=kind == "aligned",
                        grouped=clusters is not None,
                        crosses=len(earlier),
                    )
                sums[site, kind].add_pairs(
                    stack.values,
                    stack.present,
                    total_effects=total_effects[places],
                    groups=None if clusters is None else clusters[places],
                )
            if sampled:
                lines = chunk.lines[site] if method is None else None
                add_cells(sums[site, kind], job, number, cells, total_effects, lines, clusters, others)
    return sums


def _kept_scores(
    job: JobRecord, scores: Scores, done: Sequence[int], method: str | None
) -> dict[str, list[Floats]]:
    """Return the scores to store of each pair; for further methods, very large sites only if stored whole."""
    detail = job.spec.detail
    if detail == "summary":
        return {}
    if detail == "positions":
        return {
            site: [scores.of_pair(place, site, method) for place in done] for site in job.spec.query.sites
        }
    sites = [site for site in job.spec.query.sites if method is None or site not in WIDE_SITES]
    return {site: [scores.whole(place, site, method) for place in done] for site in sites}


def _outcome(index: int, result: PairResult, error: str | None) -> PairOutcome:
    if error is not None:
        return PairOutcome(index, "failed", error=error)
    return PairOutcome(
        index,
        PairState.SKIPPED if result.skipped else PairState.DONE,
        warning=result.warning,
        tokens=result.tokens,
        corrupted_tokens=result.corrupted_tokens,
        clean_metric=result.clean_metric,
        corrupted_metric=result.corrupted_metric,
        prefix=result.prefix,
        clean_preference=result.clean_preference,
        corrupted_preference=result.corrupted_preference,
        correct_tokens=result.correct_tokens,
        incorrect_tokens=result.incorrect_tokens,
    )


def provenance_of(engine: Engine, job: JobRecord) -> Provenance:
    """Say what a job's numbers come from when this engine makes them."""
    source, graph = engine.provenance, graph_of(engine, job)
    return Provenance(
        model=source.model,
        revision=source.revision,
        config_hash=source.config_hash,
        weights_hash=source.weights_hash,
        versions=source.versions,
        dtype=source.dtype,
        device=source.device,
        seed=job.spec.seed,
        graph=None if graph is None else graph.as_dict(),
    )


def graph_of(engine: Engine, job: JobRecord) -> Graph | None:
    """Return the numbering of the edges that a job measures, if it does."""
    return engine.graph if EDGE in job.spec.query.sites else None
