"""One chunk measured: attribution for every pair, exact patching for the cells drawn, the sums of both."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from patchgrid.engine.names import HEAD_SITES
from patchgrid.engine.results import PairResult
from patchgrid.engine.types import Component, Pair
from patchgrid.estimates import Sums, pilot_scales, sample
from patchgrid.storage.jobs import JobRecord
from patchgrid.storage.provenance import Provenance
from patchgrid.storage.writing import ChunkResult, ExactCell, PairOutcome
from patchgrid.workers.components import AlignedScores, Alignment, Floats, align, failure, whole
from patchgrid.workers.models import Engine

#: Takes the share of the chunk's work that is done, 0 to 1; what it raises ends the measuring.
OnShare = Callable[[float], None]


@dataclass(slots=True)
class _Measured:
    """One pair on its way through the chunk."""

    #: Row number in the job.
    index: int
    pair: Pair
    result: PairResult
    #: Why it failed, else None.
    error: str | None
    columns: list[tuple[int, ...]] = field(default_factory=list)
    whole: dict[str, Floats] = field(default_factory=dict)
    aligned: dict[str, AlignedScores] = field(default_factory=dict)
    draws: list["_Draw"] = field(default_factory=list)
    #: One for each draw.
    cells: list[ExactCell] = field(default_factory=list)

    @property
    def total_effect(self) -> float:
        """How far the two prompts' metrics are apart."""
        return self.result.clean_metric - self.result.corrupted_metric

    def of_kind(self, kind: str, site: str) -> AlignedScores:
        """Give the scores of the components of this kind."""
        return AlignedScores(self.whole[site], None) if kind == "whole" else self.aligned[site]


@dataclass(frozen=True, slots=True)
class _Draw:
    """A cell that was drawn: what to patch, and where its numbers go."""

    component: Component
    #: Index in the array of its site.
    place: tuple[int, ...]
    score: float
    inclusion: float


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
    spec, alignment = job.spec, Alignment(job.spans)
    arranged: dict[int, _Measured] = {}
    scales = _Scales(pilot or {})
    finished = 0.0

    def choose(places: Sequence[int], results: Sequence[PairResult]) -> list[list[Component]]:
        for place, result in zip(places, results, strict=True):
            one = _arrange(first + place, pairs[place], result, alignment)
            arranged[place] = one
            one.draws = [] if one.error is not None else _draw_cells(job, one, scales)
        return [[draw.component for draw in arranged[place].draws] for place in places]

    def on_batch(count: float) -> None:
        nonlocal finished
        finished += count
        on_share(min(1.0, finished / len(pairs)))

    found = engine.measure(
        pairs,
        choose if spec.exact > 0 else None,
        sites=spec.sites,
        method=spec.method,
        direction=spec.direction,
        metric=spec.metric,
        prepend_bos=spec.prepend_bos,
        batch_tokens=batch_tokens,
        on_batch=on_batch,
    )
    measured = []
    for place, each in enumerate(found):
        one = arranged.get(place) or _arrange(first + place, pairs[place], each.result, alignment)
        one.error = one.error or each.error
        one.cells = _cells(job, one, each.effects.tolist(), alignment)
        measured.append(one)
    done = [one for one in measured if one.error is None]
    return ChunkResult(
        provenance=provenance_of(engine, job),
        outcomes=[_outcome(one) for one in measured],
        sums=_sums(job, done),
        scores=_kept_scores(job, done),
        exact=[cell for one in done for cell in one.cells],
        seconds=time.perf_counter() - began,
    )


def _arrange(index: int, pair: Pair, result: PairResult, alignment: Alignment) -> _Measured:
    one = _Measured(index, pair, result, failure(result))
    if one.error is None:
        one.columns = alignment.columns(pair, len(result.tokens))
        one.whole = {site: whole(scores) for site, scores in result.scores.items()}
        one.aligned = {site: align(scores, alignment, one.columns) for site, scores in result.scores.items()}
    return one


def _cells(job: JobRecord, one: _Measured, effects: Sequence[float], alignment: Alignment) -> list[ExactCell]:
    return [
        _cell(job, one.index, draw, effect, alignment)
        for draw, effect in zip(one.draws, effects, strict=True)
    ]


class _Scales:
    """How large each component's scores are by the job's pilot, for scores of any shape."""

    def __init__(self, pilot: Mapping[str, Sums]) -> None:
        self._pilot = pilot
        self._known: dict[tuple[str, tuple[int, ...]], NDArray[np.float64]] = {}

    def of(self, site: str, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
        """Give a site's scales, or None where there is no pilot."""
        if site not in self._pilot:
            return None
        if (site, shape) not in self._known:
            self._known[site, shape] = pilot_scales(self._pilot[site], shape)
        return self._known[site, shape]


def _draw_cells(job: JobRecord, one: _Measured, scales: _Scales) -> list[_Draw]:
    """Draw one pair's cells at every site."""
    draws = []
    for site in job.spec.sites:
        scores = one.of_kind(job.kind, site)
        drawn, inclusion = sample(
            scores.values,
            rate=job.spec.exact,
            pairs=job.pairs,
            seed=job.spec.seed,
            site=site,
            pair=one.index,
            scales=scales.of(site, scores.values.shape),
            present=scores.present,
        )
        for at in zip(*np.nonzero(drawn), strict=True):
            place = tuple(int(axis) for axis in at)
            component = _component(job, one, site, place)
            draws.append(_Draw(component, place, float(scores.values[at]), float(inclusion[at])))
    return draws


def _component(job: JobRecord, one: _Measured, site: str, at: tuple[int, ...]) -> Component:
    """Name the component at an index of a site's array."""
    head = at[-1] if site in HEAD_SITES else None
    if job.kind == "whole":
        return Component(site, at[0], head)
    positions = one.columns[at[1]]
    position = positions[0] if len(positions) == 1 else positions
    return Component(site, at[0], head, position=position)


def _cell(job: JobRecord, index: int, draw: _Draw, effect: float, alignment: Alignment) -> ExactCell:
    component = draw.component
    span = alignment.label(draw.place[1]) if job.kind == "aligned" else None
    return ExactCell(
        index=index,
        site=component.site,
        layer=component.layer,
        head=component.head,
        neuron=component.neuron,
        position=component.position if span is None and isinstance(component.position, int) else None,
        span=span,
        score=draw.score,
        effect=effect,
        inclusion=draw.inclusion,
    )


def _sums(job: JobRecord, done: Sequence[_Measured]) -> dict[tuple[str, str], Sums]:
    """Add up the chunk: whole components and aligned ones, the sampled cells to the kind that was sampled."""
    sums: dict[tuple[str, str], Sums] = {}
    if not done:
        return sums
    sampled = job.spec.exact > 0
    for site in job.spec.sites:
        totals = Sums.zeros(done[0].whole[site].shape, sampled=sampled and job.kind == "whole")
        totals.add_pairs(
            np.stack([one.whole[site] for one in done]),
            total_effects=np.array([one.total_effect for one in done]),
        )
        by_column = Sums.zeros(
            done[0].aligned[site].values.shape, sampled=sampled and job.kind == "aligned", aligned=True
        )
        for one in done:
            scores = one.aligned[site]
            by_column.add_pair(scores.values, scores.present, total_effect=one.total_effect)
        _add_cells(totals if job.kind == "whole" else by_column, site, done)
        sums[site, "whole"], sums[site, "aligned"] = totals, by_column
    return sums


def _add_cells(sums: Sums, site: str, done: Sequence[_Measured]) -> None:
    rows = [
        (draw.place, cell, one.total_effect)
        for one in done
        for draw, cell in zip(one.draws, one.cells, strict=True)
        if cell.site == site
    ]
    if not rows:
        return
    index = tuple(np.array(axis) for axis in zip(*(at for at, *_ in rows), strict=True))
    numbers = np.array([(cell.score, cell.effect, cell.inclusion, total) for _, cell, total in rows])
    sums.add_cells(index, *numbers.T)


def _kept_scores(job: JobRecord, done: Sequence[_Measured]) -> dict[str, list[Floats]]:
    if job.spec.detail == "summary":
        return {}
    if job.spec.detail == "pairs":
        return {site: [one.whole[site] for one in done] for site in job.spec.sites}
    return {site: [one.result.scores[site] for one in done] for site in job.spec.sites}


def _outcome(one: _Measured) -> PairOutcome:
    result = one.result
    if one.error is not None:
        return PairOutcome(one.index, "failed", error=one.error)
    return PairOutcome(
        one.index,
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
