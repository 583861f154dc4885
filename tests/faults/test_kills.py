"""`kill -9` of workers at random moments, and at each point of a chunk's way."""

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select

from patchgrid.storage.db.dialects import now
from patchgrid.storage.jobs import jobs
from patchgrid.storage.queue.leases import MAX_ATTEMPTS
from patchgrid.storage.tables import component_estimate, total
from patchgrid.workers.broker import messages
from patchgrid.workers.testing import make_pairs
from support.faults.fault_jobs import SPEC, Trial, trial
from support.faults.fleet import Fleet, MakeFleet
from support.machines.servers import Redis

#: Seconds from a kill that a chunk may take beyond its lease.
RECOVERY = 10
POINTS = ("claimed", "computing", "before commit", "in commit", "committed")


@dataclass(frozen=True)
class Kill:
    """One worker killed."""

    #: When, by the database's clock.
    at: float
    #: The pairs it held.
    held: frozenset[int]


def kill_one(work: Trial, fleet: Fleet, rng: random.Random) -> Kill | None:
    """Kill a worker at this moment; None, and it is let be, if its chunk may not be lost once more.

    What has lost three workers is taken for poison, and chance must not make it so. Most that hold nothing
    are let be, too.
    """
    pid = rng.choice(fleet.pids)
    if not fleet.freeze(pid):
        return None
    held = work.held_by(pid)
    # On a busy machine most workers are about to start: kills shall meet those at work, too.
    spared = any(row.attempts >= MAX_ATTEMPTS for row in held) if held else rng.random() < 0.8
    if spared:
        fleet.send(pid, signal.SIGCONT)
        return None
    with work.database.read() as session:
        at = session.scalar(select(now()))
    assert at is not None
    fleet.kill(pid)
    return Kill(at, frozenset(index for row in held for index in range(row.first, row.last)))


def kill_at_random(work: Trial, fleet: Fleet, count: int, rng: random.Random) -> list[Kill]:
    """Kill workers at random moments all along the job."""
    kills: list[Kill] = []
    for moment in sorted(rng.uniform(0, 0.9) for _ in range(count)):
        work.wait_until_done(int(moment * work.chunks), fleet)
        while (killed := kill_one(work, fleet, rng)) is None:
            pass
        kills.append(killed)
    return kills


def assert_recovered(work: Trial, kills: Sequence[Kill], lease: float) -> None:
    """Hold every chunk that lost its worker to the time in which it must be done after all.

    One that lost two was split, and its parts wait behind the rest of the job: they are done, but later.
    """
    last: dict[int, float] = {}
    for killed in kills:
        for index in killed.held:
            last[index] = killed.at
    whole = [row for row in work.rows() if row.last - row.first == work.job.chunk_size]
    took = [row.finished_at - last[row.first] for row in whole if row.first in last]
    assert max(took) <= lease + RECOVERY, sorted(took)
    assert len(took) > len(kills) / 3, "hardly a kill met a worker that held a chunk"


def assert_kills_lose_nothing(
    url: str,
    redis: Redis,
    folder: Path,
    make_fleet: MakeFleet,
    *,
    chunks: int,
    workers: int,
    kills: int,
    lease: float,
) -> None:
    """Kill workers at random; the keeper starts others."""
    rng = random.Random(kills)
    with (
        trial(url, folder, make_pairs(2 * chunks)) as work,
        make_fleet(url, workers, lease=lease, pair_seconds=0.04, broker=redis.url, slice=0.5) as fleet,
    ):
        messages.send(redis.url, SPEC.model, chunks)
        done = kill_at_random(work, fleet, kills, rng)
        work.wait_until_over(fleet)
        assert fleet.end() == [0] * workers
        assert fleet.codes == [-signal.SIGKILL] * kills
        work.assert_exact(whole=False)
        assert_recovered(work, done, lease)


def test_random_kills_lose_nothing_and_repeat_nothing(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Six kills over 80 chunks."""
    assert_kills_lose_nothing(url, redis, tmp_path, make_fleet, chunks=80, workers=3, kills=6, lease=3.0)


@pytest.mark.slow
def test_a_hundred_random_kills_lose_nothing_and_repeat_nothing(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Over 2,000 chunks, each recovered within the lease and ten seconds."""
    assert_kills_lose_nothing(url, redis, tmp_path, make_fleet, chunks=2000, workers=8, kills=100, lease=6.0)


def assert_kills_at_points_lose_nothing(
    url: str,
    folder: Path,
    make_fleet: MakeFleet,
    points: Sequence[str],
    *,
    chunks: int,
    workers: int,
    kills: int,
) -> None:
    """Let so many workers kill themselves at each of the points; those after them live."""
    rng = random.Random(kills)
    told = [
        {"fault": signal.SIGKILL, "point": point, "passing": rng.randint(1, 4)}
        for _ in range(kills)
        for point in points
    ]
    with trial(url, folder, make_pairs(2 * chunks)) as work:
        fleet = make_fleet(url, workers, lease=3.0, pair_seconds=0.01)
        fleet.next_options = list(told)
        with fleet:
            work.wait_until_over(fleet)
            fleet.end()
        assert fleet.codes == [-signal.SIGKILL] * len(told)
        work.assert_exact(whole=False)


def test_kills_at_points_lose_nothing_and_repeat_nothing(
    url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Twice after the claim, in the computing, before the commit, within it and after it."""
    assert_kills_at_points_lose_nothing(url, tmp_path, make_fleet, POINTS, chunks=60, workers=4, kills=2)


def test_a_kill_while_a_job_completes_leaves_nothing_half_written(
    url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Totals and estimates come with the last chunk or not at all; the next worker writes them once."""
    with trial(url, tmp_path, make_pairs(6)) as work:
        fleet = make_fleet(url, 1, lease=3.0, pair_seconds=0.01)
        fleet.next_options = [{"fault": signal.SIGKILL, "point": "completing"}] * 2
        with fleet:
            work.wait(lambda: len(fleet.codes) >= 1, fleet)
            with work.database.read() as session:
                assert jobs.get(session, work.job.id).state == "running"
                for table in (total, component_estimate):
                    assert session.scalar(select(func.count()).select_from(table)) == 0, table.name
            work.wait_until_over(fleet)
            fleet.end()
        assert fleet.codes == [-signal.SIGKILL] * 2
        work.assert_exact(whole=False)
        with work.database.read() as session:
            rows = session.scalar(select(func.count()).select_from(component_estimate))
        assert rows == len(work.expected["components"])


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_fifty_kills_at_a_point_lose_nothing_and_repeat_nothing(
    url: str, tmp_path: Path, make_fleet: MakeFleet, point: str
) -> None:
    """Fifty times each, with eight workers."""
    assert_kills_at_points_lose_nothing(url, tmp_path, make_fleet, [point], chunks=500, workers=8, kills=50)


def assert_kills_before_successors_lose_nothing(
    url: str, redis: Redis, folder: Path, make_fleet: MakeFleet, *, chunks: int, workers: int, kills: int
) -> None:
    """Let workers kill themselves when a slice is over and the message that follows it is not yet sent."""
    rng = random.Random(kills)
    options = {"broker": redis.url, "slice": 0.1, "lease": 3.0, "pair_seconds": 0.01}
    with trial(url, folder, make_pairs(2 * chunks)) as work:
        fleet = make_fleet(url, workers, **options)
        fleet.next_options = [
            {"fault": signal.SIGKILL, "point": "successor", "passing": rng.randint(1, 2)}
            for _ in range(kills)
        ]
        with fleet:
            messages.send(redis.url, SPEC.model, chunks)
            work.wait_until_over(fleet)
            fleet.end()
        assert fleet.codes == [-signal.SIGKILL] * kills
        work.assert_exact(whole=False)


def test_kills_between_a_slice_and_its_successor_lose_nothing(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Their messages are lost: others find the work by polling."""
    assert_kills_before_successors_lose_nothing(
        url, redis, tmp_path, make_fleet, chunks=150, workers=2, kills=4
    )


@pytest.mark.slow
def test_fifty_kills_between_a_slice_and_its_successor_lose_nothing(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Over 2,000 chunks, with eight workers."""
    assert_kills_before_successors_lose_nothing(
        url, redis, tmp_path, make_fleet, chunks=2000, workers=8, kills=50
    )
