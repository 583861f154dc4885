"""One chunk of a later round: cells that its plan names are patched, and nothing else is measured.

Its sums are differences: what the pairs' cells add with their new probabilities, less what they added with
the former ones. So a job's sums hold for its rounds together, however far the last one is.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row

from patchgrid.core.means import Means
from patchgrid.core.states import PairState
from patchgrid.core.types import Component, Pair
from patchgrid.engine.results import Measured, PairResult
from patchgrid.estimates import Rounding, Sums
from patchgrid.estimates.racing import race_sums
from patchgrid.storage.chunks.alignment import Alignment
from patchgrid.storage.chunks.chunk_result import ChunkResult, PairOutcome, RoundResult, Scored
from patchgrid.storage.chunks.naming import index_of, place_of_row
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.results.verification import EXACT
from patchgrid.storage.sampling.earlier import Earlier, measured
from patchgrid.storage.sampling.round_sample import RoundSample
from patchgrid.workers.measuring.cells import (
    CELL,
    NO_CELLS,
    Cells,
    add_cells,
    by_pair,
    cell_axes,
    clusters_of,
    components,
    earlier_methods,
    exact_cells,
    scores_by,
)
from patchgrid.workers.measuring.chunk import OnShare, graph_of, provenance_of
from patchgrid.workers.measuring.components import Floats, Mask, Scores, Stack
from patchgrid.workers.measuring.models import Engine, keeps_positions


def measure_round(
    engine: Engine,
    job: JobRecord,
    first: int,
    pairs: Sequence[Pair],
    number: int,
    earlier: Earlier,
    *,
    pilot: Mapping[str, Sums],
    means: Means | None = None,
    batch_tokens: int | None = None,
    on_share: OnShare = lambda _share: None,
) -> ChunkResult:
    """Patch the cells that the plan of round `number` names in these pairs, and that are not patched yet.

    The arguments are those of `measure_chunk`; `earlier` is what is known of the pairs.
    """
    began = time.perf_counter()
    calls = _Calls(engine, job, pairs, means, batch_tokens, on_share)
    chunk = _RoundChunk(job, first, pairs, number, earlier, pilot, calls)
    chunk.draw()
    if len(chunk.new):
        chunk.patch()
    result = chunk.result()
    on_share(1.0)
    return replace(result, seconds=time.perf_counter() - began)


class _Calls:
    """Calls of the engine for a chunk's pairs."""

    def __init__(
        self,
        engine: Engine,
        job: JobRecord,
        pairs: Sequence[Pair],
        means: Means | None,
        batch_tokens: int | None,
        on_share: OnShare,
    ) -> None:
        self.engine, self._job, self._pairs = engine, job, pairs
        self._means, self._batch_tokens, self._on_share = means, batch_tokens, on_share

    def score(self) -> Sequence[PairResult]:
        """Score the pairs: their scores were not kept."""
        return self.engine.attribute(
            self._pairs,
            self._job.spec.query,
            means=self._means,
            keep_positions=keeps_positions(self._job.spec),
            batch_tokens=self._batch_tokens,
            on_batch=lambda _count: self._on_share(0.0),
        )

    def patch(self, chosen: Mapping[int, Sequence[Component]]) -> dict[int, Measured]:
        """Patch components of pairs, by the pairs' places."""
        places, finished = list(chosen), 0.0

        def on_batch(count: float) -> None:
            nonlocal finished
            finished += count
            self._on_share(min(1.0, finished / len(places)))

        query = replace(self._job.spec.query, methods=(), only_correct=False)
        found = self.engine.measure(
            [self._pairs[place] for place in places],
            lambda inside, _: [chosen[places[each]] for each in inside],
            query,
            means=self._means,
            keep_positions=keeps_positions(self._job.spec),
            batch_tokens=self._batch_tokens,
            on_batch=on_batch,
        )
        return dict(zip(places, found, strict=True))


class _RoundChunk:
    """A chunk of a later round on its way."""

    def __init__(
        self,
        job: JobRecord,
        first: int,
        pairs: Sequence[Pair],
        number: int,
        earlier: Earlier,
        pilot: Mapping[str, Sums],
        calls: _Calls,
    ) -> None:
        self._job, self._first, self._number, self._earlier = job, first, number, earlier
        self._calls, self._plan = calls, earlier.plans[number]
        self._graph = graph_of(calls.engine, job)
        self._sample = RoundSample(job.spec, job.pairs, pilot, earlier.plans)
        self._scores = Scores(pairs, job.spans, job.spec.query.method_names)
        self._clusters = {site: clusters_of(pairs, job, site) for site in job.spec.query.sites}
        outcomes = earlier.outcomes
        stored = earlier.scores is not None
        results = [self._stored(each) for each in outcomes] if stored else calls.score()
        # What was left out with the scores is left out in all rounds.
        kept = [place for place, each in enumerate(outcomes) if measured(each)]
        self._scores.add(kept, [results[place] for place in kept])
        self._places = self._scores.good(kept)
        self._totals = np.array([_total_effect(each) for each in outcomes])
        self._errors: dict[int, str] = {}
        self._seconds = 0.0
        self._rounding = Rounding()
        self.old = self._old_cells()
        #: Cells to patch, and the probabilities with which all were drawn, before and with this round.
        self.new: Cells = NO_CELLS
        self._before = self.old["inclusion"].copy()

    def draw(self) -> None:
        """Draw the cells to patch, and find the new probabilities of those that are patched."""
        parts = []
        for number, site in enumerate(self._job.spec.query.sites):
            if site in self._plan:
                parts += [
                    self._draw(number, site, *each)
                    for each in self._scores.stacks(self._job.kind, site, self._places)
                ]
        self.new = by_pair(parts)

    def patch(self) -> None:
        """Patch the new cells; those of pairs that cannot be measured any more are dropped."""
        places = np.unique(self.new["pair"]).tolist()
        chosen = components(self._job, self.new, places, self._scores.columns, self._graph)
        found = self._calls.patch(chosen)
        for place, each in found.items():
            if len(each.effects) != len(chosen[place]) or not np.isfinite(each.effects).all():
                self._errors[place] = each.error or "an effect is not finite"
            self._seconds += each.seconds
            self._rounding += Rounding.of(each.rounding)
        failed = list(self._errors)
        self.new = self.new[~np.isin(self.new["pair"], failed)]
        kept = [each.effects for place, each in found.items() if place not in self._errors]
        self.new["effect"] = np.concatenate([np.empty(0), *kept])
        same = np.isin(self.old["pair"], failed)
        self.old["inclusion"][same] = self._before[same]

    def result(self) -> ChunkResult:
        """Put together what is stored of it."""
        methods = self._job.spec.query.method_names
        sums = [Scored(self._sums(method)) for method in (None, *methods[1:])]
        changed = np.flatnonzero(self.old["inclusion"] != self._before).tolist()
        rows = self._earlier.cells
        round_ = RoundResult(
            self._number,
            self._earlier.cells_of_pairs(),
            [
                (rows[each].pair_index, rows[each].cell, float(self.old["inclusion"][each]))
                for each in changed
            ],
            {site: self._race(number, site) for number, site in self._racing()},
        )
        return ChunkResult(
            provenance=provenance_of(self._calls.engine, self._job),
            outcomes=[self._outcome(place, each) for place, each in enumerate(self._earlier.outcomes)],
            sums=sums[0].sums,
            exact=exact_cells(self._job, self._first, self.new, self._scores, self._graph),
            methods=methods,
            others=dict(zip(methods[1:], sums[1:], strict=True)),
            cost={EXACT: self._seconds},
            rounding=self._rounding,
            round=round_,
        )

    def _stored(self, outcome: Row[Any]) -> PairResult:
        """Return a pair's result with its stored scores."""
        if not measured(outcome):
            return PairResult(error="not measured")
        assert self._earlier.scores is not None, "they are scored again"
        index = outcome.pair_index
        scores: dict[str, dict[str, NDArray[np.float32]]] = {
            method: {} for method in self._job.spec.query.method_names
        }
        for (method, site), arrays in self._earlier.scores.items():
            scores[method][site] = arrays[index]
        return PairResult(
            scores=scores,
            clean_metric=outcome.clean_metric,
            corrupted_metric=outcome.corrupted_metric,
            tokens=tuple(outcome.tokens),
            prefix=outcome.prefix or 0,
        )

    def _old_cells(self) -> Cells:
        sites, alignment = self._job.spec.query.sites, Alignment(self._job.spans)
        cells: list[tuple[float, ...]] = []
        lengths = [len(each.tokens) for each in self._earlier.outcomes]
        for row in self._earlier.cells:
            place = row.pair_index - self._first
            layer, *inner = index_of(place_of_row(row), self._graph)
            column = 0
            if self._job.kind == "aligned":
                column = alignment.column_of(row.position, row.span, lengths[place])
            at = (place, sites.index(row.site), layer, column, inner[0] if inner else 0)
            cells.append((*at, row.score, row.effect, row.inclusion))
        return np.array(cells, CELL)

    def _draw(self, number: int, site: str, places: list[int], stack: Stack) -> Cells:
        """Draw new cells of pairs whose scores at a site have one shape."""
        values, present = stack.values, stack.present
        rows = [self._first + place for place in places]
        drawn = self._sample.draw(site, rows, values, present, self._number)
        own = np.flatnonzero((self.old["site"] == number) & np.isin(self.old["pair"], places))
        index = self._index(self.old[own], site, places)
        missed, chance = self._chances(site, places, values, present)
        self.old["inclusion"][own] = 1 - (1 - self._before[own]) * missed[index]
        drawn[index] = False
        at, *along = np.nonzero(drawn)
        cells = np.zeros(len(at), CELL)
        cells["pair"], cells["site"] = np.asarray(places)[at], number
        for axis, numbers in zip(cell_axes(self._job.kind, site), along, strict=True):
            cells[axis] = numbers
        cells["score"], cells["inclusion"] = values[drawn], chance[drawn]
        return cells

    def _chances(
        self, site: str, places: Sequence[int], values: Floats, present: Mask | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the probability of each cell to be missed by this round, and to be drawn in any so far."""
        missed, chance = np.ones(values.shape), np.zeros(values.shape)
        for rounds in {self._earlier.rounds[place] for place in places}:
            # Pairs may be through different rounds.
            here = [number for number, place in enumerate(places) if self._earlier.rounds[place] == rounds]
            rows = [self._first + places[number] for number in here]
            has = None if present is None else present[here]
            missed[here] = self._sample.missed(site, values[here], self._number, [*rounds])
            chance[here] = self._sample.inclusion(site, rows, values[here], has, [*rounds, self._number])
        return missed, chance

    def _index(self, cells: Cells, site: str, places: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
        """Return the index of cells in a stack of the pairs at these places."""
        order = np.argsort(places)
        at = order[np.searchsorted(np.asarray(places)[order], cells["pair"])]
        return at, *(cells[axis] for axis in cell_axes(self._job.kind, site))

    def _sums(self, method: str | None) -> dict[tuple[str, str], Sums]:
        """Return what the cells' sums by a method become, less what they were."""
        old, new = self.old, self.new
        earlier = earlier_methods(self._job, method)
        old_others, new_others = (np.zeros((len(earlier), len(cells))) for cells in (old, new))
        for place, each in enumerate(earlier):
            old_others[place] = self._old_scores(each)
            new_others[place] = scores_by(self._job, new, self._scores, each)
        if method is not None:
            old, new = old.copy(), new.copy()
            old["score"] = self._old_scores(method)
            new["score"] = scores_by(self._job, new, self._scores, method)
        before = old.copy()
        before["inclusion"] = self._before
        sums = {}
        for number, site in enumerate(self._job.spec.query.sites):
            if site not in self._plan or not self._places:
                continue
            axes = self._plan[site].shares.shape
            clusters = self._clusters[site]
            with_round, without = (
                Sums.zeros(
                    axes,
                    sampled=True,
                    aligned=self._job.kind == "aligned",
                    grouped=clusters is not None,
                    crosses=len(earlier),
                )
                for _ in range(2)
            )
            if not self._job.spec.patches and self._number == self._first_round_of(site):
                self._add_totals(with_round, site, method)
            lines = self._sample.lines(site) if method is None else None
            for cells, others, into in (
                (old, old_others, with_round),
                (new, new_others, with_round),
                (before, old_others, without),
            ):
                add_cells(into, self._job, number, cells, self._totals, lines, clusters, others)
            with_round -= without
            sums[site, self._job.kind] = with_round
        return sums

    def _old_scores(self, method: str) -> NDArray[np.float64]:
        """Return the scores by a method of the cells that earlier rounds patched."""
        if method == self._job.method():
            return self.old["score"].copy()
        keys = [(row.pair_index, row.cell) for row in self._earlier.cells]
        return np.array([self._earlier.further[key][method] for key in keys], np.float64)

    def _first_round_of(self, site: str) -> int:
        return min(number for number, plan in self._earlier.plans.items() if site in plan)

    def _add_totals(self, sums: Sums, site: str, method: str | None) -> None:
        """Add the pairs' total effects, which sums without sampled cells lack."""
        clusters = self._clusters[site]
        totals = Sums.zeros(sums.axes, sampled=True, aligned=sums.aligned, grouped=clusters is not None)
        for places, stack in self._scores.stacks(self._job.kind, site, self._places, method):
            totals.add_pairs(
                stack.values,
                stack.present,
                total_effects=self._totals[places],
                groups=None if clusters is None else clusters[places],
            )
        sums["d"][...] += totals["d"]
        if sums.groups is not None and totals.groups is not None:
            sums.groups.add(totals.groups, sums.axes)

    def _racing(self) -> list[tuple[int, str]]:
        sites = enumerate(self._job.spec.query.sites)
        return [(number, site) for number, site in sites if site in self._plan and self._plan[site].races]

    def _race(self, number: int, site: str) -> NDArray[np.float64]:
        """Return the sums over the cells of a site that joined the race."""
        plan = self._plan[site]
        cells = np.concatenate([self.old, self.new])
        cells = cells[cells["site"] == number]
        joined = np.zeros(len(cells), np.bool_)
        for places, stack in self._scores.stacks(self._job.kind, site, self._places):
            rows = [self._first + place for place in places]
            mask = self._sample.raced(site, rows, stack.values, stack.present, self._number)
            own = np.flatnonzero(np.isin(cells["pair"], places))
            joined[own] = mask[self._index(cells[own], site, places)]
        cells = cells[joined]
        index = tuple(cells[axis] for axis in cell_axes(self._job.kind, site))
        assert plan.lines is not None, "it races"
        totals = self._totals[cells["pair"]]
        return race_sums(index, cells["score"], cells["effect"], totals, plan.lines)

    def _outcome(self, place: int, outcome: Row[Any]) -> PairOutcome:
        index, error = outcome.pair_index, self._errors.get(place)
        if error is not None:
            return PairOutcome(index, PairState.FAILED, error=error)
        return PairOutcome(index, outcome.state, error=outcome.error)


def _total_effect(outcome: Row[Any]) -> float:
    if not measured(outcome):
        return 0.0
    return float(outcome.clean_metric - outcome.corrupted_metric)
