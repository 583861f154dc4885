"""Patching random subsets of what a finished job hardly patched: see `estimates.missed`."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from patchgrid.core.component_sets import ComponentSet, EdgeSet
from patchgrid.core.means import Means
from patchgrid.core.sites import EDGE, SITES
from patchgrid.core.states import FINISHED_JOBS, JobState, PairState
from patchgrid.core.types import Component, Pair
from patchgrid.engine.results import PairResult
from patchgrid.estimates.sampling import uniform
from patchgrid.storage.chunks.means import read_means
from patchgrid.storage.chunks.provenance import weights_hashes
from patchgrid.storage.db.database import Database
from patchgrid.storage.errors import NothingKept
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.sampling.pilot import pilot_pairs
from patchgrid.storage.subsets.missed import site_of, site_state
from patchgrid.storage.subsets.subset_rows import (
    Design,
    keep_first_design,
    keep_rounds,
    read_design,
    stored_rounds,
)
from patchgrid.storage.tables import outcome
from patchgrid.workers.errors import JobCancelledError, JobUnfinishedError, ModelChangedError

if TYPE_CHECKING:
    from patchgrid.engine import Engine

#: Blocks that components are dealt into: few enough that each is patched several times, many enough that most
#: of what happens around a component is as in the base run.
BLOCKS = 16
#: Pairs that are measured, and stored, together.
_TOGETHER = 4
#: Fewest components that are worth dealing.
_FEWEST = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much is measured; what is stored of it already is not measured again."""

    #: Site, or None: neurons, else the first with several components a layer.
    site: str | None = None
    #: Subsets of each pair, rounded up to whole rounds of `BLOCKS`.
    subsets: int = 64
    #: Pairs.
    pairs: int = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left to measure."""

    job: JobRecord
    design: Design
    #: By pair: the rounds that are not stored yet.
    rounds: Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Done:
    """What was measured."""

    #: Pairs that were measured now, and those that could not be.
    pairs: int
    failed: int
    #: It was asked to stop before the end.
    stopped: bool


def checked_job(session: Session, job_id: int) -> JobRecord:
    """Return a finished job; raise for one that runs, failed or was cancelled."""
    job = jobs.get(session, job_id)
    if job.state == JobState.CANCELLED:
        raise JobCancelledError(job.id)
    if job.state not in FINISHED_JOBS:
        raise JobUnfinishedError(job.id, job.state)
    return job


def design_of(session: Session, job: JobRecord, site: str | None) -> Design:
    """Return the design of a site: the stored one, or one of all that were patched in too few pairs."""
    chosen = site_of(job, site)
    stored = read_design(session, job.id, chosen)
    if stored is not None:
        return stored
    state = site_state(session, job, chosen)
    members, count = state.unpatched, int(state.unpatched.sum())
    if count < _FEWEST:
        left = f"{count} are too few" if count else "none are left"
        raise NothingKept(
            f"job {job.id} has patched {members.size - count:,} of {members.size:,} components of {chosen} "
            f"in three pairs or more: {left} to bound"
        )
    return Design(chosen, max(2, min(BLOCKS, count // 2)), state.axes, members)


def plan_missed(session: Session, job_id: int, wanted: Wanted) -> Plan:
    """Say what is left to measure of a finished job; what is stored already is not.

    Raises `JobCancelledError`, `JobUnfinishedError`, `SpecError` for a site that the job does not have, or
    `NothingKept` where there is nothing to bound.
    """
    job = checked_job(session, job_id)
    design = design_of(session, job, wanted.site)
    rounds = range(max(2, -(-wanted.subsets // design.blocks)))
    there = stored_rounds(session, job.id, design.site)
    rows = sorted(_sample(session, job, wanted.pairs))
    left = {row: [each for each in rounds if each not in there.get(row, ())] for row in rows}
    return Plan(job, design, {row: own for row, own in left.items() if own})


def measure_missed(
    database: Database,
    engine: "Engine",
    plan: Plan,
    *,
    batch_tokens: int | None = None,
    stop: threading.Event | None = None,
    on_pairs: Callable[[float, int], None] = lambda _done, _total: None,
) -> Done:
    """Patch random subsets of a site's components as planned, and store them, a few pairs at a time.

    A run that is killed loses the pairs that it was at. `on_pairs` takes the pairs that are done, and all
    that there are to do. Raises `ModelChangedError`, and what `plan_missed` does of the job.
    """
    job, todo = plan.job, plan.rounds
    with database.write() as session:
        checked_job(session, job.id)
        measured = weights_hashes(session, job.id)
        if measured and engine.provenance.weights_hash not in measured:
            raise ModelChangedError(job.id, job.spec.model)
        design = keep_first_design(session, job.id, plan.design)
        means = read_means(session, job.id) if job.spec.query.source == "mean" else None
    run = _Run(engine, job, design, means, batch_tokens, stop or threading.Event())
    done = failed = 0
    for some in _together(sorted(todo)):
        if run.stop.is_set():
            break
        with database.read() as session:
            pairs = pilot_pairs(session, job.id, some)

        def report(share: float, before: int = done) -> None:
            on_pairs(before + share, len(todo))

        found = run.measure(pairs, some, [todo[row] for row in some], report)
        if found is None:
            break
        with database.write() as session:
            for row, effects in found.items():
                keep_rounds(session, job.id, design.site, row, effects)
        done += len(some)
        failed += len(some) - len(found)
        on_pairs(done, len(todo))
    return Done(done - failed, failed, stopped=done < len(todo))


def _together(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    for begin in range(0, len(rows), _TOGETHER):
        yield rows[begin : begin + _TOGETHER]


def _sample(session: Session, job: JobRecord, count: int) -> list[int]:
    """Draw measured pairs without replacement: more of them are always the same ones and some others."""
    query = select(outcome.c.pair_index).where(outcome.c.job_id == job.id, outcome.c.state == PairState.DONE)
    rows = np.array(session.scalars(query).all(), dtype=np.int64)
    drawn = uniform(job.spec.seed, "missed pairs", [0], job.pairs)[0]
    return [int(row) for row in rows[np.argsort(drawn[rows], kind="stable")][:count]]


class _Stopped(Exception):  # noqa: N818 (no error)
    """The run was asked to stop."""


@dataclass(frozen=True, slots=True)
class _Run:
    """How pairs are measured."""

    engine: "Engine"
    job: JobRecord
    design: Design
    means: Means | None
    batch_tokens: int | None
    stop: threading.Event

    def measure(
        self,
        pairs: Sequence[Pair],
        rows: Sequence[int],
        rounds: Sequence[Sequence[int]],
        report: Callable[[float], None],
    ) -> dict[int, dict[int, NDArray[np.float64]]] | None:
        """Return each row's rounds, `[effect and predicted, block]` each; None: asked to stop."""
        query, finished = self.job.spec.query, 0.0

        def on_batch(share: float) -> None:
            nonlocal finished
            finished += share
            report(finished)
            if self.stop.is_set():
                raise _Stopped

        asked = replace(query, sites=(self.design.site,), methods=query.methods[:1], only_correct=False)
        results = self.engine.attribute(pairs, asked, means=self.means, keep_positions=False)
        dealt = [self.design.deal(self.job, row, own) for row, own in zip(rows, rounds, strict=True)]
        cells = [
            (place, self._set(blocks == number))
            for place, own in enumerate(dealt)
            for blocks in own
            for number in range(self.design.blocks)
        ]
        try:
            effects, _ = self.engine.patch_cells(
                pairs,
                cells,
                direction=query.direction,
                metric=self.job.spec.metric,
                source=query.source,
                means=self.means,
                prepend_bos=query.prepend_bos,
                batch_tokens=self.batch_tokens,
                on_batch=on_batch,
            )
        except _Stopped:
            return None
        found, begin = {}, 0
        for row, result, own, blocks in zip(rows, results, rounds, dealt, strict=True):
            mine = effects[begin : begin + len(own) * self.design.blocks].reshape(len(own), -1)
            begin += mine.size
            if result.error is None and np.isfinite(mine).all():
                scores = self._scores(result)
                found[row] = {
                    number: np.stack([effect, self._summed(scores, each)])
                    for number, effect, each in zip(own, mine, blocks, strict=True)
                }
        return found

    def _set(self, chosen: NDArray[np.bool_]) -> ComponentSet | EdgeSet:
        """Make the set of the components of one block."""
        site = self.design.site
        if site == EDGE:
            return EdgeSet(np.flatnonzero(chosen), self.engine.graph)
        if SITES[site].index is None:
            return ComponentSet.of([Component(site, int(layer)) for layer in np.flatnonzero(chosen)])
        by_layer = chosen.reshape(self.design.axes)
        return ComponentSet.of_site(site, {layer: np.flatnonzero(own) for layer, own in enumerate(by_layer)})

    def _scores(self, result: PairResult) -> NDArray[np.float64]:
        """Return a pair's score of each component, flat, summed over positions."""
        [by_site] = result.scores.values()
        scores = np.asarray(by_site[self.design.site], np.float64)
        if scores.ndim > len(self.design.axes):
            scores = scores.sum(1)
        return scores.ravel()

    def _summed(self, scores: NDArray[np.float64], blocks: NDArray[np.intp]) -> NDArray[np.float64]:
        """Sum the scores of each block of a round."""
        inside = blocks >= 0
        sums = np.bincount(blocks[inside], scores[inside], minlength=self.design.blocks)
        return sums.astype(np.float64)
