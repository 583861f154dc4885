"""Workers of different models on one queue: each job's numbers come from its own."""

from pathlib import Path

import pytest
from sqlalchemy import select

from patchgrid.core.types import JobSpec
from patchgrid.storage import Database
from patchgrid.storage.tables import chunk, provenance
from patchgrid.workers.testing import make_pairs
from support.faults.fault_jobs import undisturbed
from support.faults.fleet import MakeFleet
from support.machines.servers import Redis, wait_for
from support.storage.storage_backends import all_jobs
from support.workers.working import exported, submit


def assert_each_on_its_own(
    url: str, redis: Redis, folder: Path, make_fleet: MakeFleet, *, chunks: int, workers: int
) -> None:
    """Work off a job of each of two models with workers of the one, of the other, and of both."""
    served = [("first",), ("second",), ("first", "second")]
    specs = [JobSpec(name, exact=0.2) for name in ("first", "second")]
    pairs = make_pairs(2 * chunks)
    with Database.open(url) as database:
        records = [submit(database, spec, pairs, chunk_size=2, key=spec.model) for spec in specs]
        fleet = make_fleet(url, workers, broker=redis.url)
        fleet.next_options = [{"models": served[number % len(served)]} for number in range(workers)]
        with fleet:
            wait_for(lambda: states(database) == ["done", "done"], 300)
            assert fleet.end() == [0] * workers
        of_each = select(chunk.c.job_id, provenance.c.model).join(provenance).distinct()
        with database.read() as session:
            found = sorted(map(tuple, session.execute(of_each)))
        assert found == [(record.id, record.spec.model) for record in records]
        for record in records:
            (folder / record.spec.model).mkdir()
            assert exported(database, record) == undisturbed(
                folder / record.spec.model, record.spec, pairs, chunk_size=2
            )


def states(database: Database) -> list[str]:
    """Return the state of each job."""
    with database.read() as session:
        return [record.state for record in all_jobs(session)]


def test_each_chunk_is_measured_by_a_worker_of_its_model(
    postgres_url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Two workers of a model each, and one that serves both."""
    assert_each_on_its_own(postgres_url, redis, tmp_path, make_fleet, chunks=40, workers=3)


@pytest.mark.slow
def test_each_of_a_thousand_chunks_is_measured_by_a_worker_of_its_model(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """The same with eight workers."""
    assert_each_on_its_own(url, redis, tmp_path, make_fleet, chunks=500, workers=8)
