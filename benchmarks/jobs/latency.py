"""How long work waits: from a submit to its first claim, with and without the broker; an urgent job's time.

By the database's clock, with workers that are processes and an engine that takes its time (see `queue`).
"""

import tempfile
import time

import click
import numpy as np

from benchmarks.jobs.queue import finished, say, servers, wait_for, workers
from patchgrid.core.types import JobSpec, Pair
from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.workers.broker.messages import send
from support.machines.servers import redis_server

_POLL = 5.0


def make_pairs(number: int) -> list[Pair]:
    """Return pairs, all different."""
    return [Pair(f"clean {index}", f"corrupted {index}", " a", " b") for index in range(number)]


def submit(database: Database, model: str, pairs: list[Pair], chunk: int, *, priority: int = 0) -> JobRecord:
    """Write a job, never one that was there."""
    with database.write() as session:
        return jobs.submit(
            session,
            JobSpec(model, exact=0.0),
            pairs,
            key=f"benchmark {time.time_ns()}",
            count=len(pairs),
            chunk_size=chunk,
            priority=priority,
        )


def waits(url: str, broker: str, times: int, *, reachable: bool) -> list[float]:
    """Submit a small job to an idle worker so many times; give the seconds to its first claim."""
    found = []
    with workers(url, 1, "instant", broker=broker, poll=_POLL), Database.open(url) as database:
        for number in range(times):
            job = submit(database, "instant", make_pairs(4), 4)
            if reachable:
                send(broker, "instant", 1)
            done = finished(database, job)
            assert done.started_at is not None
            found.append(done.started_at - done.created_at)
            time.sleep(0.1 * (number % 5))  # not in step with the worker's polls
    return found


def urgent(url: str, broker: str, pairs: int, seconds: float, number: int) -> float:
    """Submit an urgent job of ten pairs into a running one; give the seconds to its end."""
    model = f"after {seconds}"
    with workers(url, number, model, broker=broker, poll=_POLL), Database.open(url) as database:
        large = submit(database, model, make_pairs(pairs), 64)
        send(broker, model, -(-pairs // 64))

        def begun() -> bool:
            with database.read() as session:
                return job_progress(session, large.id).chunks_done >= 10

        wait_for(begun)
        small = submit(database, model, make_pairs(10), 64, priority=10)
        send(broker, model, 1)
        done = finished(database, small)
    assert done.finished_at is not None
    return done.finished_at - done.created_at


@click.command()
@click.option("--times", default=50, help="Small jobs for the latency.")
@click.option("--pairs", default=100_000, help="Pairs of the job that is under way.")
@click.option("--milliseconds", default=50.0, help="What the engine takes for a chunk of 64 pairs of it.")
@click.option("--workers", "number", default=2, help="Workers on it.")
def main(times: int, pairs: int, milliseconds: float, number: int) -> None:
    """Measure how long work waits."""
    with tempfile.TemporaryDirectory() as folder, servers(folder) as there:
        for kind in ("SQLite", "PostgreSQL"):
            found = waits(there.new_url(kind), there.broker, times, reachable=True)
            say(f"{kind}, submit to first claim, median (s)", float(np.median(found)))
            say(f"{kind}, submit to first claim, most (s)", max(found))
            with redis_server() as away:
                away.kill()
                found = waits(there.new_url(kind), away.url, max(3, times // 10), reachable=False)
            say(f"{kind}, the broker away, median (s)", float(np.median(found)))
            say(f"{kind}, the broker away, most (s; --poll is {_POLL:.0f})", max(found))
            seconds = urgent(there.new_url(kind), there.broker, pairs, milliseconds / 1000, number)
            say(f"{kind}, urgent job of 10 pairs into one of {pairs:,} (s)", seconds)


if __name__ == "__main__":
    main()
