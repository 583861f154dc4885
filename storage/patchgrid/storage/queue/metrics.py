"""Metrics for operators: queue length by model, and workers."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.core.errors import PatchgridError
from patchgrid.core.queue_name import queue_name
from patchgrid.core.states import OPEN_CHUNKS, ChunkState, WorkerState
from patchgrid.storage.db.dialects import now
from patchgrid.storage.queue.workers import WorkerRecord
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
    #: Name of its queue on the broker.
    queue: str
    #: Messages waiting on it; None: no broker, or it is unavailable.
    messages: int | None = None


#: Counts the messages on the queues of models; raises `PatchgridError` if the broker is unavailable.
CountMessages = Callable[[Iterable[str]], Mapping[str, int]]


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
            queue_name(model),
        )
        for model, states in sorted(counts.items())
    ]


def with_served(waiting: Sequence[ModelQueue], workers: Sequence[WorkerRecord]) -> list[ModelQueue]:
    """Return queues and, without chunks, those of the other models that a worker serves."""
    served = {model for worker in workers if _is_present(worker) for model in worker.models}
    empty = sorted(served - {queue.model for queue in waiting})
    return [*waiting, *(ModelQueue(model, 0, 0, 0, None, queue_name(model)) for model in empty)]


def with_messages(waiting: Sequence[ModelQueue], count: CountMessages | None) -> list[ModelQueue]:
    """Return queues with the number of their messages, if there is a broker and it answers."""
    try:
        messages = {} if count is None else count([queue.model for queue in waiting])
    except PatchgridError:
        messages = {}
    return [replace(queue, messages=messages.get(queue.model)) for queue in waiting]


def prometheus_text(waiting: Sequence[ModelQueue], workers: Sequence[WorkerRecord]) -> str:
    """Return the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Figures(waiting, workers))
    return generate_latest(registry).decode()


def _is_present(worker: WorkerRecord) -> bool:
    return not worker.lost and worker.state != WorkerState.STOPPED


class _Figures(Collector):
    """The metrics as a collector of Prometheus' client."""

    def __init__(self, waiting: Sequence[ModelQueue], workers: Sequence[WorkerRecord]) -> None:
        self._queues, self._workers = waiting, workers
        self._present = [worker for worker in workers if _is_present(worker)]

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
        messages = GaugeMetricFamily(
            "patchgrid_queue_messages", "Messages on a model's queue.", labels=["model", "queue"]
        )
        for queue in self._queues:
            for state in OPEN_CHUNKS:
                chunks.add_metric([queue.model, state], getattr(queue, state))
            oldest.add_metric([queue.model], queue.oldest_seconds or 0.0)
            if queue.messages is not None:
                messages.add_metric([queue.model, queue.queue], queue.messages)
        states = GaugeMetricFamily("patchgrid_workers", "Workers by state.", labels=["state"])
        counts = Counter(_LOST if worker.lost else worker.state for worker in self._workers)
        for state in (*WorkerState, _LOST):
            states.add_metric([state], counts[state])
        speed = GaugeMetricFamily("patchgrid_pairs_per_second", "Throughput of all workers.")
        speed.add_metric([], sum(worker.pairs_per_second or 0.0 for worker in self._present))
        yield from (chunks, oldest, messages, states, speed)
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
