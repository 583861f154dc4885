"""PostgreSQL crashes, and connections that are cut as a transaction is committed."""

import random
from pathlib import Path

import pytest

from patchgrid.workers.testing import make_pairs
from support.faults.cutting import Cuts, wire
from support.faults.fault_jobs import trial
from support.faults.fleet import MakeFleet
from support.machines.servers import Postgres


def assert_crashes_lose_nothing(
    postgres: Postgres,
    url: str,
    folder: Path,
    make_fleet: MakeFleet,
    *,
    chunks: int,
    workers: int,
    crashes: int,
) -> None:
    """Crash the server at random moments of the job; it starts again at once."""
    rng = random.Random(crashes)
    with (
        trial(url, folder, make_pairs(2 * chunks)) as work,
        make_fleet(url, workers, pair_seconds=0.02) as fleet,
    ):
        for moment in sorted(rng.uniform(0.05, 0.9) for _ in range(crashes)):
            work.wait_until_done(int(moment * chunks), fleet)
            postgres.crash_and_restart()
        work.wait_until_over(fleet)
        assert fleet.end() == [0] * workers
        assert fleet.codes == []
        work.assert_exact(whole=False)


def test_a_crash_of_the_server_loses_nothing(
    postgres: Postgres, postgres_url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Workers wait for it, with their results, and go on; none of them ends."""
    assert_crashes_lose_nothing(postgres, postgres_url, tmp_path, make_fleet, chunks=80, workers=3, crashes=1)


@pytest.mark.slow
def test_five_crashes_of_the_server_lose_nothing(
    postgres: Postgres, postgres_url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """The same five times with eight workers."""
    assert_crashes_lose_nothing(
        postgres, postgres_url, tmp_path, make_fleet, chunks=1000, workers=8, crashes=5
    )


def assert_cuts_lose_nothing(
    postgres: Postgres, url: str, folder: Path, make_fleet: MakeFleet, *, workers: int, cuts: int
) -> None:
    """Cut commits of results, half of them after the server got them, and some of other commits."""
    plan = Cuts(every=4, every_other=5 * cuts // 4)
    with (
        trial(url, folder, make_pairs(12 * cuts)) as work,
        wire(postgres.port, plan) as between,
        make_fleet(url.replace(f":{postgres.port}/", f":{between.port}/"), workers, lease=3.0) as fleet,
    ):
        work.wait_until_over(fleet)
        assert fleet.end() == [0] * workers
        assert fleet.codes == []
        assert plan.done[True, True] + plan.done[True, False] >= cuts
        assert min(plan.done[True, True], plan.done[True, False]) >= cuts // 2 - 1
        assert plan.done[False, True] > 0
        assert plan.done[False, False] > 0
        work.assert_exact(whole=False)


def test_connections_cut_in_a_commit_lose_nothing(
    postgres: Postgres, postgres_url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """A worker does not know whether its commit landed: it asks, and writes nothing twice."""
    assert_cuts_lose_nothing(postgres, postgres_url, tmp_path, make_fleet, workers=3, cuts=8)


@pytest.mark.slow
def test_fifty_connections_cut_in_a_commit_lose_nothing(
    postgres: Postgres, postgres_url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """The same fifty times with eight workers."""
    assert_cuts_lose_nothing(postgres, postgres_url, tmp_path, make_fleet, workers=8, cuts=50)
