"""Celery workers in processes of their own, on a stand-in engine, and the Redis that they listen to."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from patchgrid.core.queue_name import queue_name
from patchgrid.storage import Database
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.tables import chunk
from patchgrid.workers.broker import messages
from support.faults.fault_worker import WorkerOptions
from support.faults.fleet import Nursery
from support.machines.servers import Redis, wait_for
from support.workers.running import MODEL, state, submit_pairs

PASSWORD = "swordfish"
#: The queue of the stand-in's model.
QUEUE = queue_name(MODEL)
#: A worker that polls this seldom works because of a message.
NEVER = 3600.0


class CeleryWorker:
    """One Celery worker in a process."""

    def __init__(self, nursery: Nursery, options: WorkerOptions) -> None:
        self._nursery, self._log = nursery, Path(options.log)
        self.pid = nursery.start(options)

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._nursery.ended.get(self.pid)

    def log(self) -> str:
        """Return what it logged and printed."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    @property
    def chunks(self) -> int:
        """How many chunks it has done."""
        return self.log().count("finished chunk")

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Wait until it has logged something so many times."""
        wait_for(lambda: self.log().count(text) >= times or self.code is not None)
        assert self.log().count(text) >= times, self.log()

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def join(self) -> int:
        """Wait until it has ended; give the exit code."""
        wait_for(lambda: self.code is not None)
        assert self.code is not None
        return self.code

    def end(self) -> None:
        """Kill it if it runs."""
        if self.code is None:
            self.send(signal.SIGKILL)
            self.join()


@dataclass
class Place:
    """A database, a broker and a nursery for workers of both."""

    database: Database
    redis: Redis
    folder: Path
    nursery: Nursery

    @contextmanager
    def worker(self, *, ready: bool = True, **options: Any) -> Iterator[CeleryWorker]:
        """Run a worker for a `with` block that polls never; `ready`: wait until it takes messages."""
        options = {"broker": self.redis.url, "poll": NEVER} | options
        log = self.folder / f"worker-{len(list(self.folder.glob('worker-*')))}.log"
        log.touch()
        one = CeleryWorker(self.nursery, WorkerOptions(self.database.url, str(log), **options))
        try:
            one.wait_for_log("started on")
            if ready:
                one.wait_for_log("receiving messages from")
            yield one
        finally:
            one.end()

    def submit(self, count: int = 4, *, send: bool = True, **options: Any) -> JobRecord:
        """Submit a job in chunks of four pairs, and send its messages."""
        job = submit_pairs(self.database, count, **options)
        if send:
            messages.send(self.redis.url, job.spec.model, -(-count // job.chunk_size))
        return job

    def is_done(self, job: JobRecord) -> bool:
        """Tell whether a job is done."""
        return state(self.database, job) == "done"

    def work_off(self, **options: Any) -> JobRecord:
        """Submit a job, send its messages and wait until a worker has done it."""
        job = self.submit(**options)
        wait_for(lambda: self.is_done(job))
        return job

    def is_held(self, job: JobRecord, worker: CeleryWorker) -> bool:
        """Tell whether a worker holds a chunk of a job."""
        mine = (chunk.c.state == "leased") & chunk.c.worker.like(f"%/{worker.pid}/%")
        with self.database.read() as session:
            return session.scalar(select(chunk.c.id).where(chunk.c.job_id == job.id, mine)) is not None

    def push(self, *payloads: bytes) -> None:
        """Put something on the model's queue as it is."""
        with self.redis.client() as client:
            client.rpush(QUEUE, *payloads)

    def waiting(self) -> int:
        """Count the messages on the model's queue."""
        with self.redis.client() as client:
            return int(client.llen(QUEUE))


def wait_for_answer(ask: Callable[[], Any]) -> Any:
    """Ask until there is an answer, and return it."""
    answers: list[Any] = []
    wait_for(lambda: answers.append(ask()) or answers[-1])
    return answers[-1]
