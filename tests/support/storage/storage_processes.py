"""Other processes that work on a database, and may be killed at it."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from patchgrid.core.types import Pair
from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.queue import leases
from support.storage.chunk_results import chunk_result, make_pairs, make_spec
from support.storage.storage_backends import all_jobs

#: Seconds a test waits for another process to say something.
PATIENCE = 60
_spawn = multiprocessing.get_context("spawn")


@contextmanager
def process(work: Any, *arguments: Any) -> Iterator[tuple[BaseProcess, Connection]]:
    """Run `work(pipe, *arguments)` in a process of its own; killed at the end if it is still there."""
    mine, theirs = _spawn.Pipe()
    child = _spawn.Process(target=work, args=(theirs, *arguments))
    child.start()
    theirs.close()
    try:
        yield child, mine
    finally:
        child.kill()
        child.join()
        mine.close()


def hear(pipe: Connection) -> Any:
    """Wait for what the process says."""
    assert pipe.poll(PATIENCE), "the other process says nothing"
    return pipe.recv()


def claim_and_finish_all(pipe: Connection, url: str) -> None:
    """Say ready, wait for go, then work off the only job; say which chunks were claimed."""
    with Database.open(url) as database:
        with database.read() as session:
            job = all_jobs(session)[0]
        pipe.send("ready")
        pipe.recv()
        claimed = []
        while True:
            with database.write() as session:
                lease = leases.claim(session, str(os.getpid()))
            if lease is None:
                break
            claimed.append(lease.chunk_id)
            with database.write() as session:
                assert leases.finish(session, lease, chunk_result(job, lease))
        pipe.send(claimed)


def submit_when_told(pipe: Connection, url: str) -> None:
    """Open (and make) the database once told, submit a job, say its id."""
    pipe.send("ready")
    pipe.recv()
    spec = make_spec()
    with Database.open(url) as database:
        with database.write() as session:
            job = jobs.submit(session, spec, make_pairs(500), key="the same", count=500)
        pipe.send(job.id)


def submit_and_hang(pipe: Connection, url: str) -> None:
    """Begin to submit a job, say so after its 5,000th pair, and never end."""

    def pairs() -> Iterator[Pair]:
        yield from make_pairs(5000)
        pipe.send("half way")
        pipe.recv()

    with Database.open(url) as database, database.write() as session:
        jobs.submit(session, make_spec(), pairs(), key="key", count=10_000)


def claim_two_and_hang(pipe: Connection, url: str, first_seconds: float) -> None:
    """Claim two chunks, one for a short time and one for an hour, say so, and hang."""
    with Database.open(url) as database:
        with database.write() as session:
            short = leases.claim(session, "killed", lease_seconds=first_seconds)
            long = leases.claim(session, "killed", lease_seconds=3600)
        pipe.send((short, long))
        pipe.recv()


def die_while_finishing(pipe: Connection, url: str) -> None:
    """Claim a chunk, write all of its results, and be killed before they are committed."""
    with Database.open(url) as database:
        with database.write() as session:
            lease = leases.claim(session, "killed", lease_seconds=3600)
            assert lease is not None
            job = jobs.get(session, lease.job_id)
        with database.write() as session:
            assert leases.finish(session, lease, chunk_result(job, lease))
            assert job_progress(session, job.id).done == lease.last - lease.first
            os.kill(os.getpid(), signal.SIGKILL)


def finish_late(pipe: Connection, url: str) -> None:
    """Claim a chunk for a moment, say so, and hand in its results when told; say whether they were taken."""
    with Database.open(url) as database:
        with database.write() as session:
            lease = leases.claim(session, "late", lease_seconds=600)
            assert lease is not None
            job = jobs.get(session, lease.job_id)
        pipe.send("claimed")
        pipe.recv()
        with database.write() as session:
            pipe.send(leases.finish(session, lease, chunk_result(job, lease, failed={0})))


def work_until_told(pipe: Connection, url: str) -> None:
    """Work off whatever there is until told to stop; say which chunks were handed in and not refused."""
    handed_in = []
    with Database.open(url) as database:
        pipe.send("ready")
        while not pipe.poll():
            with database.write() as session:
                lease = leases.claim(session, str(os.getpid()), models=["a/model"])
                job = None if lease is None else jobs.get(session, lease.job_id)
            if lease is None or job is None:
                time.sleep(0.02)
                continue
            with database.write() as session:
                if leases.finish(session, lease, chunk_result(job, lease)):
                    handed_in.append(lease.first)
        pipe.send(handed_in)
