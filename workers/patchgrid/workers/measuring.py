"""One chunk measured: attribution for every pair, exact patching for the cells drawn, the sums of both."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

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
    cells: list[ExactCell] = field(default_factory=list)
    #: Each cell's index in the array of its site.
    places: list[tuple[int, ...]] = field(default_factory=list)

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
    spec = job.spec
    share = _Share(len(pairs), sampled=spec.exact > 0, report=on_share)
    results = engine.attribute(
        pairs,
        sites=spec.sites,
        method=spec.method,
        direction=spec.direction,
        metric=spec.metric,
        prepend_bos=spec.prepend_bos,
        batch_tokens=batch_tokens,
        on_batch=share.add,
    )
    alignment = Alignment(job.spans)
    measured = [
        _arrange(first + place, pair, result, alignment)
        for place, (pair, result) in enumerate(zip(pairs, results, strict=True))
    ]
    draws = [
        (place, draw)
        for place, one in enumerate(measured)
        if one.error is None and spec.exact > 0
        for draw in _draw_cells(job, one, pilot or {})
    ]
    _patch(engine, job, measured, draws, alignment, batch_tokens, share)
    done = [one for one in measured if one.error is None]
    return ChunkResult(
        provenance=provenance_of(engine, job),
        outcomes=[_outcome(one) for one in measured],
        sums=_sums(job, done),
        scores=_kept_scores(job, done),
        exact=[cell for one in done for cell in one.cells],
        seconds=time.perf_counter() - began,
    )


@dataclass(slots=True)
class _Share:
    """Counts finished work: each pair is scored, then (where cells are sampled) patched."""

    pairs: int
    sampled: bool
    report: OnShare
    finished: float = 0.0

    def add(self, finished: float) -> None:
        self.finished += finished
        self.report(min(1.0, self.finished / max(1, self.pairs * (1 + self.sampled))))


def _arrange(index: int, pair: Pair, result: PairResult, alignment: Alignment) -> _Measured:
    one = _Measured(index, pair, result, failure(result))
    if one.error is None:
        one.columns = alignment.columns(pair, len(result.tokens))
        one.whole = {site: whole(scores) for site, scores in result.scores.items()}
        one.aligned = {site: align(scores, alignment, one.columns) for site, scores in result.scores.items()}
    return one


def _patch(
    engine: Engine,
    job: JobRecord,
    measured: Sequence[_Measured],
    draws: Sequence[tuple[int, _Draw]],
    alignment: Alignment,
    batch_tokens: int | None,
    share: _Share,
) -> None:
    """Patch cells exactly; a pair with an effect that is not a number becomes a failed one."""
    if not draws:
        return
    effects, errors = engine.patch_cells(
        [one.pair for one in measured],
        [(place, draw.component) for place, draw in draws],
        direction=job.spec.direction,
        metric=job.spec.metric,
        prepend_bos=job.spec.prepend_bos,
        batch_tokens=batch_tokens,
        on_batch=share.add,
    )
    for place, reason in errors.items():
        measured[place].error = measured[place].error or reason
    for (place, draw), effect in zip(draws, effects.tolist(), strict=True):
        measured[place].cells.append(_cell(job, measured[place].index, draw, effect, alignment))
        measured[place].places.append(draw.place)


def _draw_cells(job: JobRecord, one: _Measured, pilot: Mapping[str, Sums]) -> list[_Draw]:
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
            scales=pilot_scales(pilot[site], scores.values.shape) if site in pilot else None,
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
        (place, cell, one.total_effect)
        for one in done
        for place, cell in zip(one.places, one.cells, strict=True)
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
