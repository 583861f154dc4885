"""How long small jobs wait beside a large one: `python -m benchmarks.jobs.fair_share`.

One worker, with an engine that takes its time, measures a large job. Meanwhile small jobs are submitted, half
of them by another user, half by the owner of the large one. Without fair share, chunks go by job, then chunk.
"""

import tempfile
from collections.abc import Iterator, Sequence

import click
import numpy as np
from sqlalchemy import update

from benchmarks.jobs.queue import Servers, finished, servers, wait_for, workers
from patchgrid.core.types import JobSpec, Pair
from patchgrid.storage import Database
from patchgrid.storage.access.ownership import Submitter, add_owner
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.tables import chunk
from patchgrid.workers.broker.messages import send

#: Chunks of the large job that are done before the small ones come.
_BEGUN = 20
#: More than a job has chunks.
_MANY = 10_000_000


def submit(
    database: Database, user: str, spec: JobSpec, pairs: Iterator[Pair], count: int, *, fair: bool
) -> JobRecord:
    """Submit a user's job; not `fair`: behind all that were submitted before."""
    by = Submitter(user=user)
    with database.write() as session:
        with_pairs = jobs.submit(
            session, spec, pairs, key=f"{user} {spec.seed}", count=count, owners=[by.owner]
        )
        add_owner(session, with_pairs.id, by)
        if not fair:
            in_order = with_pairs.id * _MANY + chunk.c.first
            session.execute(update(chunk).where(chunk.c.job_id == with_pairs.id).values(turn=in_order))
    return with_pairs


def make_pairs(count: int) -> Iterator[Pair]:
    """Yield pairs for an engine that does not read them."""
    return (Pair(f"clean {index}", f"corrupted {index}", " a", " b") for index in range(count))


def waits(
    there: Servers, kind: str, large: int, small: int, seconds: float, *, fair: bool
) -> dict[str, list[float]]:
    """Return the seconds from submit to done of each small job, by owner."""
    model = f"after {seconds}"
    with (
        Database.open(url := there.new_url(kind)) as database,
        workers(url, 1, model, broker=there.broker, poll=0.5),
    ):
        first = submit(database, "ann", JobSpec(model, exact=0.0), make_pairs(large), large, fair=fair)
        send(there.broker, model, -(-large // 64))

        def begun() -> bool:
            with database.read() as session:
                return job_progress(session, first.id).chunks_done >= _BEGUN

        wait_for(begun)
        users = ("bob", "ann")
        made: Sequence[tuple[str, JobRecord]] = [
            (
                user,
                submit(
                    database, user, JobSpec(model, exact=0.0, seed=1 + number), make_pairs(10), 10, fair=fair
                ),
            )
            for number in range(small // len(users))
            for user in users
        ]
        found: dict[str, list[float]] = {user: [] for user in users}
        for user, job in made:
            done = finished(database, job)
            assert done.finished_at is not None
            found[user].append(done.finished_at - done.created_at)
    return found


@click.command()
@click.option("--large", default=200_000, help="Pairs of the large job.")
@click.option("--small", default=20, help="Small jobs, of 10 pairs each.")
@click.option("--milliseconds", default=10.0, help="What the engine takes for a chunk of 64 pairs.")
@click.option("--databases", default="SQLite,PostgreSQL", help="Which to try.")
def main(large: int, small: int, milliseconds: float, databases: str) -> None:
    """Measure how long small jobs wait beside a large one."""
    with tempfile.TemporaryDirectory() as folder, servers(folder) as there:
        for kind in databases.split(","):
            for fair in (True, False):
                found = waits(there, kind, large, small, milliseconds / 1000, fair=fair)
                for user, seconds in found.items():
                    whose = "another user's" if user == "bob" else "the same user's"
                    how = "with fair share" if fair else "without"
                    median, most = np.median(seconds), max(seconds)
                    print(
                        f"{kind}, {whose} small jobs, {how}: median {median:.2f} s, most {most:.2f} s",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
