"""Workers of the cluster in threads of a test, on stand-in engines."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select

from patchgrid.core.types import JobSpec, Pair
from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import workers
from patchgrid.storage.queue.workers import WorkerRecord
from patchgrid.storage.tables import chunk
from patchgrid.workers.measuring.models import Engine, ModelKey
from patchgrid.workers.node.settings import WorkerSettings
from patchgrid.workers.node.worker import Worker
from patchgrid.workers.testing import load, make_pairs
from support.machines.servers import wait_for
from support.workers.working import submit

MODEL = "stand-in"


class Calls:
    """Loads stand-ins, and lets a test take part in their work."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        self._seconds = seconds
        #: Models that were loaded.
        self.loaded: list[str] = []
        #: Pairs that were measured, in order.
        self.pairs: list[Pair] = []
        #: Called before each batch.
        self.on_batch: Callable[[], object] = lambda: None

    def __call__(self, key: ModelKey) -> Engine:
        """Load a model."""
        self.loaded.append(key.model)
        return load(key, batch=2, seconds=self._seconds, on_begin=self._begin)

    def _begin(self, pairs: Sequence[Pair]) -> None:
        self.pairs.extend(pairs)
        self.on_batch()


class Running:
    """A worker that runs in a thread."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        #: Why it ended.
        self.reason: str | None = None
        #: What it raised.
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, seconds: float = 20) -> str | None:
        """Wait until it has ended; give the reason."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the worker did not end"
        return self.reason

    @property
    def runs(self) -> bool:
        """Whether it still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.reason = self.worker.run()
        except BaseException as error:  # noqa: BLE001
            self.error = error


def make_worker(database: Database, calls: Callable[[ModelKey], Engine], **options: Any) -> Worker:
    """Make a worker that asks the database often, and tells it often."""
    own = {name: options.pop(name) for name in ("name", "on_point", "load_retry", "beat") if name in options}
    values = {"models": (MODEL,), "device": "cpu", "poll": 0.05, "lease_seconds": 30.0} | options
    return Worker(database, WorkerSettings(**values), load=calls, **({"beat": 0.1} | own))  # type: ignore[arg-type]


@contextmanager
def running(database: Database, calls: Callable[[ModelKey], Engine], **options: Any) -> Iterator[Running]:
    """Run a worker for the time of a `with` block."""
    one = Running(make_worker(database, calls, **options))
    one.start()
    try:
        yield one
    finally:
        one.worker.stop_now()
        one.join()


def work_off(database: Database, calls: Callable[[ModelKey], Engine], **options: Any) -> str:
    """Run a worker in this thread until it has been idle for a moment."""
    return make_worker(database, calls, **({"idle_exit": 0.3} | options)).run()


def submit_pairs(
    database: Database, count: int, words: dict[int, str] | None = None, *, model: str = MODEL, **options: Any
) -> JobRecord:
    """Submit a job of so many pairs in chunks of 4."""
    spec = JobSpec.of(model, exact=options.pop("exact", 0.0), source=options.pop("source", "pair"))
    key = options.pop("key", f"{model} {time.monotonic_ns()}")
    return submit(database, spec, make_pairs(count, words), **{"chunk_size": 4, **options}, key=key)


def chunks(database: Database, job: JobRecord) -> list[tuple[str, int, int]]:
    """Return each chunk's state, attempts and epoch, in the order of their pairs."""
    with database.read() as session:
        rows = session.execute(select(chunk).where(chunk.c.job_id == job.id).order_by(chunk.c.first))
        return [(row.state, row.attempts, row.epoch) for row in rows]


def state(database: Database, job: JobRecord) -> str:
    """Return a job's state as it is now."""
    with database.read() as session:
        return jobs.get(session, job.id).state


def errors(database: Database, job: JobRecord) -> dict[int | str, str]:
    """Return the reasons of a job's failed pairs."""
    with database.read() as session:
        return dict(jobs.errors(session, job.id))


def registered(database: Database) -> list[WorkerRecord]:
    """Return the registry's rows."""
    with database.read() as session:
        return workers.list_workers(session)


def wait_for_state(database: Database, job: JobRecord, wanted: str, seconds: float = 20) -> None:
    """Wait until a job is in a state."""
    wait_for(lambda: state(database, job) == wanted, seconds)
