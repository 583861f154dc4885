"""The pilot: a few of the job's pairs, scored first, tell how large each component's scores are."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from patchgrid.core.means import Means
from patchgrid.core.types import Pair
from patchgrid.engine.results import PairResult
from patchgrid.estimates import Sums, pilot_rows
from patchgrid.storage.chunks.pilot import keep_first_pilot, pilot_pairs, read_pilot
from patchgrid.storage.chunks.shares import exact_share
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue.leases import MAX_ATTEMPTS
from patchgrid.workers.errors import LeaseLostError, StopRequestedError
from patchgrid.workers.measuring.causes import is_device_broken, reason_of
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
    """Read the job's pilot by site, or score its pairs and store it; empty where none is needed.

    When earlier `attempts` of a chunk lost their workers before there was a pilot, one of the pilot's pairs
    may be what took them down. At the last attempt the job permanently gets an empty pilot: every component
    then counts as equally large, which costs precision and nothing else.
    """
    if not any(0 < exact_share(job.spec, site, pairs=job.pairs) < 1 for site in job.spec.query.sites):
        return {}
    stored = waiting.read(lambda session: read_pilot(session, job.id))
    if stored:
        return stored
    pairs: Sequence[Pair] = ()
    if attempts < MAX_ATTEMPTS:
        pairs = waiting.read(lambda session: pilot_pairs(session, job.id, pilot_rows(job.pairs)))
    else:
        _log.warning("job %d continues without a pilot: workers were lost while computing it", job.id)
    pilot = score_pilot(engine, job, pairs, means=means, batch_tokens=batch_tokens, on_batch=on_batch)
    return waiting.write(lambda session: keep_first_pilot(session, job.id, pilot))


def score_pilot(
    engine: Engine,
    job: JobRecord,
    pairs: Sequence[Pair],
    *,
    means: Means | None = None,
    batch_tokens: int | None = None,
    on_batch: Callable[[float], None] = lambda _done: None,
) -> dict[str, Sums]:
    """Score pairs by the job's first method and sum their scores as its components.

    Pairs that cannot be scored are skipped.
    """
    results = _score(engine, job, pairs, means, batch_tokens, on_batch) if pairs else []
    scores = Scores(pairs, job.spans, job.spec.query.method_names[:1])
    scores.add(range(len(pairs)), results)
    return {site: _add_up(job.kind, site, scores) for site in job.spec.query.sites}


def _add_up(kind: str, site: str, scores: Scores) -> Sums:
    # A site without any scored pair is recorded, so that the next worker does not retry it.
    sums = Sums.zeros((), sampled=False)
    for _, stack in scores.stacks(kind, site, scores.good(scores.errors)):
        if not sums.axes:
            sums = Sums.zeros(stack.values.shape[1:], sampled=False, aligned=kind == "aligned")
        sums.add_pairs(stack.values, stack.present)
    return sums


def _score(
    engine: Engine,
    job: JobRecord,
    pairs: Sequence[Pair],
    means: Means | None,
    batch_tokens: int | None,
    on_batch: OnBatch,
) -> Sequence[PairResult]:
    """Score pairs; where that raises, each alone, so that only those that raise have no scores."""
    query = job.spec.query
    try:
        return engine.attribute(
            pairs,
            replace(query, methods=query.methods[:1]),
            means=means,
            keep_positions=keeps_positions(job.spec),
            batch_tokens=batch_tokens,
            on_batch=on_batch,
        )
    except (LeaseLostError, StopRequestedError):
        raise
    except Exception as error:
        # One error at all pairs (a site that the model does not have) must not be taken for theirs.
        if is_device_broken(error) or len(pairs) == 1:
            raise
        _log.warning("the pilot of job %d is scored pair by pair: %s", job.id, reason_of(error))
    results: list[PairResult] = []
    for pair in pairs:
        try:
            results += _score(engine, job, [pair], means, batch_tokens, on_batch)
        except (LeaseLostError, StopRequestedError):
            raise
        except Exception as error:
            if is_device_broken(error):
                raise
            results.append(PairResult(error=reason_of(error)))
    return results
