"""Metrics for operators: queue length by model, and workers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.core.states import OPEN_CHUNKS, ChunkState, WorkerState
from patchgrid.storage.db.dialects import now
from patchgrid.storage.queue.workers import WorkerRecord, list_workers
from patchgrid.storage.tables import chunk, job

#: What is shown of a worker that stopped sending heartbeats.
_LOST = "lost"


@dataclass(frozen=True, slots=True)
class ModelQueue:
    """A model's unfinished chunks."""

    #: The model.
    model: str
    #: Pending chunks.
    pending: int
    #: Leased chunks.
    leased: int
    #: Chunks of paused jobs.
    held: int
    #: Age in seconds of the oldest job with a pending chunk; None: no pending chunk.
    oldest_seconds: float | None


def queues(session: Session) -> list[ModelQueue]:
    """Return the queue of each model with unfinished chunks, sorted by model name."""
    counts: dict[str, Counter[str]] = {}
    oldest: dict[str, float] = {}
    # The claim index covers this query: no chunk row is read.
    of_job = (
        select(chunk.c.state, chunk.c.model, chunk.c.job_id, func.count().label("chunks"))
        .where(chunk.c.state.in_(OPEN_CHUNKS))
        .group_by(chunk.c.state, chunk.c.model, chunk.c.job_id)
        .subquery()
    )
    age = (now() - job.c.created_at).label("age")
    rows = session.execute(select(of_job, age).join(job, job.c.id == of_job.c.job_id))
    for row in rows:
        counts.setdefault(row.model, Counter())[row.state] += row.chunks
        if row.state == ChunkState.PENDING:
            oldest[row.model] = max(oldest.get(row.model, 0.0), row.age)
    return [
        ModelQueue(
            model,
            states[ChunkState.PENDING],
            states[ChunkState.LEASED],
            states[ChunkState.HELD],
            oldest.get(model),
        )
        for model, states in sorted(counts.items())
    ]


def prometheus_text(session: Session) -> str:
    """Return the metrics in Prometheus' text format.

    A model without chunks is reported with 0 as long as a worker serves it.
    """
    registry = CollectorRegistry()
    registry.register(_Figures(queues(session), list_workers(session)))
    return generate_latest(registry).decode()


class _Figures(Collector):
    """The metrics as a collector of Prometheus' client."""

    def __init__(self, waiting: list[ModelQueue], workers: list[WorkerRecord]) -> None:
        self._workers = workers
        self._present = [
            worker for worker in workers if not worker.lost and worker.state != WorkerState.STOPPED
        ]
        empty = {model for worker in self._present for model in worker.models} - {
            queue.model for queue in waiting
        }
        self._queues = [*waiting, *(ModelQueue(model, 0, 0, 0, None) for model in sorted(empty))]

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        chunks = GaugeMetricFamily(
            "patchgrid_chunks", "Chunks that are not finished.", labels=["model", "state"]
        )
        oldest = GaugeMetricFamily(
            "patchgrid_oldest_chunk_seconds",
            "Age in seconds of the oldest job with a pending chunk.",
            labels=["model"],
        )
        for queue in self._queues:
            for state in OPEN_CHUNKS:
                chunks.add_metric([queue.model, state], getattr(queue, state))
            oldest.add_metric([queue.model], queue.oldest_seconds or 0.0)
        states = GaugeMetricFamily("patchgrid_workers", "Workers by state.", labels=["state"])
        counts = Counter(_LOST if worker.lost else worker.state for worker in self._workers)
        for state in (*WorkerState, _LOST):
            states.add_metric([state], counts[state])
        speed = GaugeMetricFamily("patchgrid_pairs_per_second", "Throughput of all workers.")
        speed.add_metric([], sum(worker.pairs_per_second or 0.0 for worker in self._present))
        yield from (chunks, oldest, states, speed)
        yield from self._counters()

    def _counters(self) -> Iterator[Metric]:
        for name, what in (
            ("pairs", "Pairs committed"),
            ("chunks", "Chunks committed"),
            ("lease_losses", "Leases lost to other workers"),
            ("takeovers", "Chunks taken over from lost workers"),
        ):
            counter = CounterMetricFamily(
                f"patchgrid_worker_{name}", f"{what} by a worker.", labels=["worker"]
            )
            for worker in self._workers:
                counter.add_metric([worker.name], getattr(worker, name))
            yield counter
        failures = CounterMetricFamily("patchgrid_pair_failures", "Pairs that failed.", labels=["cause"])
        causes = Counter[str]()
        for worker in self._workers:
            causes.update(worker.failures)
        for cause in sorted(causes):
            failures.add_metric([cause], causes[cause])
        yield failures
