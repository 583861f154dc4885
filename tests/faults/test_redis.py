"""Redis flushed, killed, restarted empty, and away for a while."""

import random
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from patchgrid.workers.broker import messages
from patchgrid.workers.testing import make_pairs
from support.faults.fault_jobs import SPEC, trial
from support.faults.fleet import MakeFleet
from support.machines.servers import Redis, wait_for

Trouble = Callable[[Redis], None]


def flush(redis: Redis) -> None:
    """Forget everything."""
    with redis.client() as client:
        client.flushall()


def restart_empty(redis: Redis) -> None:
    """Crash, and come back with nothing."""
    redis.kill()
    redis.start()


def assert_trouble_loses_nothing(
    url: str,
    redis: Redis,
    folder: Path,
    make_fleet: MakeFleet,
    trouble: Trouble,
    *,
    chunks: int,
    workers: int,
    times: int,
) -> None:
    """Do it to Redis so many times along the job, in the middle of slices; every worker lives through it."""
    with (
        trial(url, folder, make_pairs(2 * chunks)) as work,
        make_fleet(url, workers, broker=redis.url, pair_seconds=0.02, slice=0.5) as fleet,
    ):
        wait_for(lambda: fleet.log().count("receiving messages") == workers)
        messages.send(redis.url, SPEC.model, chunks)
        for number in range(times):
            work.wait_until_done((number + 1) * chunks // (times + 2), fleet)
            trouble(redis)
        work.wait_until_over(fleet)
        assert fleet.end() == [0] * workers
        assert fleet.codes == []
        work.assert_exact()
        assert "Traceback" not in fleet.log()


def test_a_redis_that_forgets_loses_nothing(
    sqlite_url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """FLUSHALL, then killed and started again without its memory."""

    def both(server: Redis) -> None:
        flush(server)
        restart_empty(server)

    assert_trouble_loses_nothing(sqlite_url, redis, tmp_path, make_fleet, both, chunks=60, workers=2, times=2)


@pytest.mark.slow
def test_a_redis_that_forgets_all_along_loses_nothing(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """FLUSHALL twenty times along 2,000 chunks, with eight workers."""
    assert_trouble_loses_nothing(url, redis, tmp_path, make_fleet, flush, chunks=2000, workers=8, times=20)


class StartAndStop:
    """Kills Redis where it runs and starts it where it does not, each time after a moment of chance."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._runs = True

    def __call__(self, redis: Redis) -> None:
        """Do the other of the two."""
        time.sleep(self._rng.uniform(0, 0.5))
        (redis.kill if self._runs else redis.start)()
        self._runs = not self._runs


def test_a_redis_that_comes_and_goes_loses_nothing(
    sqlite_url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Killed and started, three times each."""
    assert_trouble_loses_nothing(
        sqlite_url, redis, tmp_path, make_fleet, StartAndStop(1), chunks=100, workers=2, times=6
    )


@pytest.mark.slow
def test_a_redis_that_comes_and_goes_twenty_times_loses_nothing(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Killed twenty times at moments of chance along 2,000 chunks, with eight workers."""
    trouble = StartAndStop(20)
    assert_trouble_loses_nothing(url, redis, tmp_path, make_fleet, trouble, chunks=2000, workers=8, times=40)


def assert_work_goes_on_without_redis(
    url: str, redis: Redis, folder: Path, make_fleet: MakeFleet, *, workers: int, seconds: float
) -> None:
    """Take Redis away for so long; chunks are done all the while, and a job submitted meanwhile begins."""
    chunks = int(13 * seconds) + 20  # ten a second, and some left when it is back
    with (
        trial(url, folder, make_pairs(2 * chunks)) as work,
        make_fleet(url, workers, broker=redis.url, pair_seconds=workers / 40) as fleet,
    ):
        messages.send(redis.url, SPEC.model, chunks)
        work.wait_until_done(5, fleet)
        redis.kill()
        counts = [work.progress().chunks_done]
        for _ in range(5):
            time.sleep(seconds / 5)
            counts.append(work.progress().chunks_done)
        redis.start()
        # Not how fast: on however slow a machine, some of them in each fifth.
        assert all(later > earlier for earlier, later in pairwise(counts)), counts
        work.wait_until_over(fleet)
        assert fleet.end() == [0] * workers
        assert fleet.codes == []
        work.assert_exact()


def test_work_goes_on_while_redis_is_away(
    postgres_url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """For five seconds."""
    assert_work_goes_on_without_redis(postgres_url, redis, tmp_path, make_fleet, workers=2, seconds=5)


@pytest.mark.slow
def test_work_goes_on_while_redis_is_away_for_a_minute(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """For sixty seconds, with eight workers."""
    assert_work_goes_on_without_redis(url, redis, tmp_path, make_fleet, workers=8, seconds=60)
