"""Redis flushed, killed, restarted empty, and away for a while."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from patchgrid.workers.testing import make_pairs
from support.faults.fault_jobs import trial
from support.faults.fleet import MakeFleet
from support.machines.servers import Redis

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
    """Do it to Redis so many times along the job; every worker lives through it."""
    with (
        trial(url, folder, make_pairs(2 * chunks)) as work,
        make_fleet(url, workers, broker=redis.url, pair_seconds=0.02) as fleet,
    ):
        for number in range(times):
            work.wait_until_done((number + 1) * chunks // (times + 2), fleet)
            trouble(redis)
        work.wait_until_over(fleet)
        assert fleet.end() == [0] * workers
        assert fleet.codes == []
        work.assert_exact()


def test_a_redis_that_forgets_loses_nothing(
    sqlite_url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """FLUSHALL, then killed and started again without its memory."""

    def both(server: Redis) -> None:
        flush(server)
        restart_empty(server)

    assert_trouble_loses_nothing(sqlite_url, redis, tmp_path, make_fleet, both, chunks=60, workers=2, times=2)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", [flush, restart_empty])
def test_a_redis_that_forgets_five_times_loses_nothing(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet, trouble: Trouble
) -> None:
    """The same five times with eight workers."""
    assert_trouble_loses_nothing(url, redis, tmp_path, make_fleet, trouble, chunks=1000, workers=8, times=5)


def assert_work_goes_on_without_redis(
    url: str, redis: Redis, folder: Path, make_fleet: MakeFleet, *, workers: int, seconds: float
) -> None:
    """Take Redis away for so long; chunks are done all the while, and a job submitted meanwhile begins."""
    chunks = int(13 * seconds) + 20  # ten a second, and some left when it is back
    with (
        trial(url, folder, make_pairs(2 * chunks)) as work,
        make_fleet(url, workers, broker=redis.url, pair_seconds=workers / 40) as fleet,
    ):
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
