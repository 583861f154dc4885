"""A job's mean activations: measured by the first worker that needs them, then the same for all."""

import logging
from collections import OrderedDict

from patchgrid.core.means import Means
from patchgrid.storage.chunks.means import MOST, keep_first_means, mean_rows, read_means
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue.leases import Lease
from patchgrid.storage.sampling.pilot import pilot_pairs
from patchgrid.workers.measuring.db_retry import Waiting
from patchgrid.workers.measuring.models import Engine, OnBatch

_log = logging.getLogger(__name__)

#: Means kept in memory.
_KEPT = 8
#: Pairs that means are taken over, at most, where those meant to be ended badly; how far on the next are.
_FEW, _STEP = 64, 17


class JobMeans:
    """The means of the jobs that a process measures, each read or made once."""

    def __init__(self) -> None:
        self._by_job: OrderedDict[int, Means] = OrderedDict()

    def get(
        self,
        waiting: Waiting,
        engine: Engine,
        job: JobRecord,
        lease: Lease,
        *,
        batch_tokens: int | None,
        on_batch: OnBatch,
    ) -> Means | None:
        """Return a job's means, for a leased chunk; None if the job's ablation is not the mean.

        They are taken over up to 4,096 of the job's pairs, evenly spaced, by the first chunk that needs them.
        Where an attempt of the chunk ended badly before there were any, one of these pairs may be what it
        was: then over up to 64 and half the job, fewer and others at each further attempt.
        """
        if job.spec.query.source != "mean":
            return None
        if job.id not in self._by_job:
            self._by_job[job.id] = _make(waiting, engine, job, lease, batch_tokens, on_batch)
        self._by_job.move_to_end(job.id)
        while len(self._by_job) > _KEPT:
            self._by_job.popitem(last=False)
        return self._by_job[job.id]


def _make(
    waiting: Waiting,
    engine: Engine,
    job: JobRecord,
    lease: Lease,
    batch_tokens: int | None,
    on_batch: OnBatch,
) -> Means:
    stored = waiting.read(lambda session: read_means(session, job.id))
    if stored is not None:
        return stored
    rows = mean_rows(job.pairs, MOST)
    if lease.attempts > 1:
        _log.warning("job %d: means use only a few pairs, because an attempt failed", job.id)
        few = max(1, min(_FEW, job.pairs >> (lease.attempts - 1)))
        rows = mean_rows(job.pairs, few, lease.first + _STEP * lease.attempts)
    pairs = waiting.read(lambda session: pilot_pairs(session, job.id, rows))
    means = engine.means(
        pairs,
        job.spec.query.sites,
        direction=job.spec.query.direction,
        prepend_bos=job.spec.query.prepend_bos,
        batch_tokens=batch_tokens,
        on_batch=on_batch,
    )
    return waiting.write(lambda session: keep_first_means(session, job.id, means))
