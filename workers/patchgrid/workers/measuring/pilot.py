"""The pilot: a few of the job's pairs, measured first, tell how large each component's scores are.

A few cells of each component are patched there too: they tell how much its scores leave unexplained.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchgrid.core.means import Means
from patchgrid.core.types import Pair
from patchgrid.engine.results import PairResult
from patchgrid.estimates import Sums, pilot_rows
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue.leases import MAX_ATTEMPTS
from patchgrid.storage.sampling.job_sample import draw_in_pilot, patched_in_pilot
from patchgrid.storage.sampling.pilot import keep_first_pilot, pilot_pairs, read_pilot
from patchgrid.storage.sampling.shares import exact_share
from patchgrid.workers.errors import LeaseLostError, StopRequestedError
from patchgrid.workers.measuring.causes import is_device_broken, reason_of
from patchgrid.workers.measuring.cells import NO_CELLS, Cells, Sampler, add_cells, components
from patchgrid.workers.measuring.chunk import graph_of
from patchgrid.workers.measuring.components import Scores
from patchgrid.workers.measuring.db_retry import Waiting
from patchgrid.workers.measuring.models import Engine, OnBatch, keeps_positions

_log = logging.getLogger(__name__)

#: Pilots kept in memory.
_KEPT = 8


class Pilots:
    """The pilots of the jobs that a process measures, each read or made once."""

    def __init__(self) -> None:
        self._by_job: OrderedDict[int, dict[str, Sums]] = OrderedDict()

    def get(
        self,
        waiting: Waiting,
        engine: Engine,
        job: JobRecord,
        *,
        means: Means | None = None,
        attempts: int,
        batch_tokens: int | None,
        on_batch: OnBatch,
    ) -> dict[str, Sums]:
        """Return a job's pilot by site, for a chunk's attempt; empty if none is needed."""
        if job.id not in self._by_job:
            self._by_job[job.id] = make_pilot(
                waiting,
                engine,
                job,
                means=means,
                attempts=attempts,
                batch_tokens=batch_tokens,
                on_batch=on_batch,
            )
        self._by_job.move_to_end(job.id)
        while len(self._by_job) > _KEPT:
            self._by_job.popitem(last=False)
        return self._by_job[job.id]


def make_pilot(
    waiting: Waiting,
    engine: Engine,
    job: JobRecord,
    *,
    means: Means | None = None,
    attempts: int = 1,
    batch_tokens: int | None = None,
    on_batch: OnBatch = lambda _done: None,
) -> dict[str, Sums]:
    """Read the job's pilot by site, or measure and store it; empty where none is needed.

    When earlier `attempts` of a chunk lost their workers before there was a pilot, one of the pilot's pairs
    may be what took them down. At the last attempt the job permanently gets an empty pilot: every component
    then counts as equally large, which costs precision and nothing else.
    """
    if not any(0 < exact_share(job.spec, site, pairs=job.pairs) < 1 for site in job.spec.query.sites):
        return {}
    stored = waiting.read(lambda session: read_pilot(session, job.id))
    if stored:
        return stored
    rows, pairs = pilot_rows(job.pairs), list[Pair]()
    if attempts < MAX_ATTEMPTS:
        pairs = waiting.read(lambda session: pilot_pairs(session, job.id, rows))
    else:
        _log.warning("job %d continues without a pilot: workers were lost while computing it", job.id)
    pilot = measure_pilot(engine, job, rows, pairs, means=means, batch_tokens=batch_tokens, on_batch=on_batch)
    return waiting.write(lambda session: keep_first_pilot(session, job.id, pilot))


def measure_pilot(
    engine: Engine,
    job: JobRecord,
    rows: Sequence[int],
    pairs: Sequence[Pair],
    *,
    means: Means | None = None,
    batch_tokens: int | None = None,
    on_batch: Callable[[float], None] = lambda _done: None,
) -> dict[str, Sums]:
    """Score pairs by the job's first method, patch a few cells, and sum both as the job's components.

    `rows` are the pairs' row numbers in the job. Pairs that cannot be measured are left out.
    """
    options = {
        "means": means,
        "keep_positions": keeps_positions(job.spec),
        "batch_tokens": batch_tokens,
        "on_batch": on_batch,
    }
    results = _score(engine, job, pairs, options) if pairs else []
    scores = Scores(pairs, job.spans, job.spec.query.method_names[:1])
    scores.add(range(len(pairs)), results)
    total_effects = np.array([each.clean_metric - each.corrupted_metric for each in results])
    sites = job.spec.query.sites
    pilot = {site: _add_up(job, site, scores, total_effects) for site in sites}
    if any(sums.sampled for sums in pilot.values()):
        cells = _patch(engine, job, pairs, scores, _sampler(job, rows, pilot), options)
        for number, site in enumerate(sites):
            if pilot[site].sampled:
                add_cells(pilot[site], job, number, cells, total_effects)
    return pilot


def _add_up(job: JobRecord, site: str, scores: Scores, total_effects: NDArray[np.float64]) -> Sums:
    # A site without any scored pair is recorded, so that the next worker does not retry it.
    sums, patched = Sums.zeros((), sampled=False), patched_in_pilot(job.spec, site, pairs=job.pairs) > 0
    for places, stack in scores.stacks(job.kind, site, scores.good(scores.errors)):
        if not sums.axes:
            sums = Sums.zeros(stack.values.shape[1:], sampled=patched, aligned=job.kind == "aligned")
        sums.add_pairs(stack.values, stack.present, total_effects=total_effects[places])
    return sums


def _sampler(job: JobRecord, rows: Sequence[int], pilot: Mapping[str, Sums]) -> Sampler:
    def draw(
        site: str, rows: Sequence[int], values: NDArray[Any], present: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        if not pilot[site].sampled:
            return np.zeros(values.shape, np.bool_), np.zeros(values.shape)
        return draw_in_pilot(job.spec, site, rows, values, present, pairs=job.pairs, pilot=pilot[site])

    return Sampler(job, rows, draw)


def _patch(
    engine: Engine,
    job: JobRecord,
    pairs: Sequence[Pair],
    scores: Scores,
    sampler: Sampler,
    options: dict[str, Any],
) -> Cells:
    """Patch a few cells of each component; none of them where that raises."""
    cells = sampler.draw(scores.good(scores.errors), scores)
    chosen = components(job, cells, range(len(pairs)), scores.columns, graph_of(engine, job))
    query = replace(job.spec.query, methods=())
    try:
        measured = engine.measure(
            pairs, lambda places, _: [chosen[place] for place in places], query, **options
        )
    except Exception as error:
        if _ends_measuring(error):
            raise
        _log.warning("nothing of the pilot of job %d is patched: %s", job.id, reason_of(error))
        return NO_CELLS
    failed = [place for place, each in enumerate(measured) if len(each.effects) != len(chosen[place])]
    cells = cells[~np.isin(cells["pair"], failed)]
    kept = (each.effects for place, each in enumerate(measured) if place not in failed)
    cells["effect"] = np.concatenate([np.empty(0), *kept])
    finite: Cells = cells[np.isfinite(cells["effect"])]
    return finite


def _score(
    engine: Engine, job: JobRecord, pairs: Sequence[Pair], options: dict[str, Any]
) -> Sequence[PairResult]:
    """Score pairs; where that raises, each alone, so that only those that raise have no scores."""
    query = job.spec.query
    try:
        return engine.attribute(pairs, replace(query, methods=query.methods[:1]), **options)
    except Exception as error:
        # One error at all pairs (a site that the model does not have) must not be taken for theirs.
        if _ends_measuring(error) or len(pairs) == 1:
            raise
        _log.warning("the pilot of job %d is scored pair by pair: %s", job.id, reason_of(error))
    results: list[PairResult] = []
    for pair in pairs:
        try:
            results += _score(engine, job, [pair], options)
        except Exception as error:
            if _ends_measuring(error):
                raise
            results.append(PairResult(error=reason_of(error)))
    return results


def _ends_measuring(error: Exception) -> bool:
    """Return whether an error is not one of the pairs: the worker has to stop."""
    return isinstance(error, LeaseLostError | StopRequestedError) or is_device_broken(error)
