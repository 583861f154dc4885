"""A chunk on its way into the database while the next one takes the worker down, again and again."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from patchgrid.core.types import JobSpec
from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.storage.queue.leases import MAX_ATTEMPTS
from patchgrid.workers.testing import make_pairs
from support.faults.fault_jobs import Trial, trial
from support.faults.fleet import MakeFleet

SPEC = JobSpec("stand-in", exact=0.0)
SIZE = 4


def assert_poison_spares_the_chunk_before(
    url: str, folder: Path, make_fleet: MakeFleet, *, poison: int, workers: int
) -> None:
    """Let every other chunk have a killer in it, which kills before the chunk before it is committed."""
    killers = {(2 * number + 1) * SIZE + number % SIZE: "KILL" for number in range(poison)}
    pairs = 2 * poison * SIZE
    with (
        trial(
            url, folder, make_pairs(pairs, killers), spec=SPEC, chunk_size=SIZE, healthy=make_pairs(pairs)
        ) as work,
        make_fleet(url, workers, lease=6.0, commit_seconds=1.5) as fleet,
    ):
        work.wait_until_over(fleet)
        assert fleet.end() == [0] * workers
        assert fleet.codes == [-signal.SIGKILL] * (MAX_ATTEMPTS * poison)
        assert_killers_alone(work, killers)


def assert_killers_alone(work: Trial, killers: dict[int, str]) -> None:
    """Hold the job to what there was to do; healthy chunks are whole, at one attempt, whoever was lost."""
    work.assert_exact(poison=killers.keys(), whole=False)
    with work.database.read() as session:
        errors = dict(jobs.errors(session, work.job.id))
    assert errors.keys() == killers.keys()
    assert all("lost" in error for error in errors.values())
    guilty = {index // SIZE for index in killers}
    healthy = [row for row in work.rows() if row.first // SIZE not in guilty]
    assert [(row.first % SIZE, row.last - row.first, row.attempts) for row in healthy] == [(0, SIZE, 1)] * (
        work.job.pairs // SIZE - len(guilty)
    )
    assert max(row.epoch for row in healthy) > 1, "no chunk was lost before it was committed"


def test_poison_spares_the_chunk_that_is_on_its_way(url: str, tmp_path: Path, make_fleet: MakeFleet) -> None:
    """Two killers, each behind a chunk whose commit is held up."""
    assert_poison_spares_the_chunk_before(url, tmp_path, make_fleet, poison=2, workers=1)


@pytest.mark.slow
def test_much_poison_spares_the_chunks_that_are_on_their_way(
    url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Every second chunk of forty kills its workers."""
    assert_poison_spares_the_chunk_before(url, tmp_path, make_fleet, poison=20, workers=4)


@contextmanager
def no_results(database: Database) -> Iterator[None]:
    """Let nobody write results, for the time of a `with` block; they wait for the lock."""
    ended, locked = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write() as session:
            session.execute(text("LOCK TABLE outcome IN SHARE MODE"))
            locked.set()
            ended.wait(120)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert locked.wait(30)
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
def test_a_chunk_whose_commit_is_locked_out_outlives_the_killer_behind_it(
    postgres_url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Worker after worker is lost with it; its lease is kept meanwhile, and it is stored at one attempt.

    The commit waits in the middle of its transaction, with the chunk's row locked.
    """
    killers = {5: "KILL"}
    with trial(
        postgres_url,
        tmp_path,
        make_pairs(16, killers),
        spec=SPEC,
        chunk_size=SIZE,
        healthy=make_pairs(16),
    ) as work:
        with make_fleet(postgres_url, 1, lease=6.0, pair_seconds=0.2) as fleet:
            with no_results(work.database):
                work.wait(lambda: len(fleet.codes) == 1, fleet)
                assert [row.attempts for row in work.rows()][:2] == [0, 1]
                fleet.size = 3
                work.wait(lambda: len(fleet.codes) == MAX_ATTEMPTS - 1, fleet)
                assert work.progress().done == 0
                healthy = [row for row in work.rows() if row.first // SIZE != 5 // SIZE]
                assert [row.attempts <= 1 for row in healthy] == [True] * 3
            work.wait_until_over(fleet)
            assert fleet.end() == [0] * 3
        assert_killers_alone(work, killers)
        assert fleet.codes == [-signal.SIGKILL] * MAX_ATTEMPTS
