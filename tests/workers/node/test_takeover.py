"""Chunks that another process holds: taken over from the dead, waited for from the living."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from sqlalchemy import select

from patchgrid.engine import Engine, JobSpec
from patchgrid.storage import Database
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import leases
from patchgrid.storage.tables import chunk
from patchgrid.workers.identity import may_be_alive, worker_name
from patchgrid.workers.runner import RunEnd, run_job
from support.engine.models import TestModel
from support.machines.servers import wait_for
from support.workers.working import make_pairs, submit

#: Longer than any test takes.
LONG = 600.0
#: A lease of a worker that may be alive, short enough to wait for.
SHORT = 1.5


@contextmanager
def other_process() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that does nothing until it is ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def name_of(process: subprocess.Popen[bytes]) -> str:
    """Name a process as a worker names itself."""
    return f"{socket.gethostname()}/{process.pid}/{int(psutil.Process(process.pid).create_time())}"


@pytest.fixture
def job(database: Database, tiny: TestModel) -> JobRecord:
    """Return a job of two chunks."""
    return submit(database, JobSpec(str(tiny.folder), exact=0.0), make_pairs(8), chunk_size=4)


def claim(database: Database, job: JobRecord, worker: str, seconds: float) -> None:
    """Let a worker take the job's first chunk."""
    with database.write() as session:
        assert leases.claim(session, worker, job_id=job.id, lease_seconds=seconds) is not None


def work_off(database: Database, engine: Engine, job: JobRecord) -> tuple[float, list[tuple[int, int]]]:
    """Run the job to its end; give the seconds that took and each chunk's attempts and epoch."""
    began = time.monotonic()
    assert run_job(database, engine, job) == RunEnd(stopped=False)
    elapsed = time.monotonic() - began
    with database.read() as session:
        rows = session.execute(select(chunk).where(chunk.c.job_id == job.id).order_by(chunk.c.id)).all()
    assert [row.state for row in rows] == ["done", "done"]
    return elapsed, [(row.attempts, row.epoch) for row in rows]


def test_a_dead_process_s_chunk_is_taken_over_at_once(
    database: Database, engine: Engine, job: JobRecord
) -> None:
    """Its lease would have lasted ten minutes; its attempt does not count."""
    with other_process() as process:
        claim(database, job, name_of(process), LONG)
    elapsed, chunks = work_off(database, engine, job)
    assert elapsed < LONG / 10
    assert chunks == [(1, 2), (1, 1)]


def test_a_killed_process_that_nobody_has_buried_is_dead(
    database: Database, engine: Engine, job: JobRecord
) -> None:
    """A zombie holds nothing back: in a container without an init process it stays for good."""
    with other_process() as process:
        claim(database, job, name_of(process), LONG)
        process.kill()
        other = psutil.Process(process.pid)
        wait_for(lambda: other.status() == psutil.STATUS_ZOMBIE)
        elapsed, chunks = work_off(database, engine, job)
    assert elapsed < LONG / 10
    assert chunks == [(1, 2), (1, 1)]


def test_a_living_process_s_chunk_is_waited_for(database: Database, engine: Engine, job: JobRecord) -> None:
    """The rest is worked off meanwhile; its chunk is taken once the lease has run out: a second attempt."""
    with other_process() as process:
        claim(database, job, name_of(process), SHORT)
        elapsed, chunks = work_off(database, engine, job)
    assert elapsed >= SHORT - 0.1
    assert chunks == [(2, 2), (1, 1)]


def test_another_host_s_chunk_is_waited_for(database: Database, engine: Engine, job: JobRecord) -> None:
    """Nobody here can know whether a process lives there, whatever its number."""
    with other_process() as process:
        host, _, rest = name_of(process).partition("/")
    claim(database, job, f"not-{host}/{rest}", SHORT)
    elapsed, _ = work_off(database, engine, job)
    assert elapsed >= SHORT - 0.1


def test_this_process_is_alive_and_knows_its_name() -> None:
    """A process is not taken for dead by itself, nor because the clock was set a second on."""
    host, pid, began = worker_name().split("/")
    assert (host, int(pid)) == (socket.gethostname(), psutil.Process().pid)
    for shift in (-1, 0, 1):
        assert may_be_alive(f"{host}/{pid}/{int(began) + shift}")


def test_a_later_process_with_the_same_number_is_another() -> None:
    """Process numbers come round."""
    host, pid, began = worker_name().split("/")
    assert not may_be_alive(f"{host}/{pid}/{int(began) - 3600}")


@pytest.mark.parametrize("name", ["", "somebody", "elsewhere/1/1", f"{socket.gethostname()}/x/y"])
def test_a_name_that_tells_nothing_may_be_alive(name: str) -> None:
    """Only what is known to be dead is dead."""
    assert may_be_alive(name)
