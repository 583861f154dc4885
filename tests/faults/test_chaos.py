"""Everything at once, on a real model: workers killed and stopped, Redis and PostgreSQL restarted."""

import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from patchgrid.engine import Engine
from patchgrid.engine.types import JobSpec, Pair
from patchgrid.pairs import PairFile
from patchgrid.storage import Database, checking
from patchgrid.storage.leases import MAX_ATTEMPTS
from patchgrid.workers.runner import run_job
from support.fault_jobs import Trial, assert_near
from support.fleet import Fleet, MakeFleet
from support.servers import Postgres, Redis, wait_for
from support.working import Exported, exported, submit

EXAMPLES = Path(__file__).parents[2] / "examples"
#: What two runs of one model may differ by, for they fill batches differently.
TOLERANCE = 1e-5
LEASE = 6.0


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the demo model's folder, a copy."""
    folder = tmp_path_factory.mktemp("demo") / "model"
    shutil.copytree(EXAMPLES / "demo_model", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return folder


def read_pairs(count: int) -> list[Pair]:
    """Give the first pairs of the example."""
    with PairFile.open(str(EXAMPLES / "pairs" / "ioi.jsonl"), limit=count) as file:
        file.check()
        return list(file)


def measure_undisturbed(folder: Path, spec: JobSpec, pairs: Sequence[Pair]) -> Exported:
    """Work the job off in this process."""
    engine = Engine.load(spec.model, device="cpu", dtype="float32")
    with Database.open(f"sqlite:///{folder / 'undisturbed.db'}") as database:
        job = submit(database, spec, pairs, chunk_size=64)
        run_job(database, engine, job)
        return exported(database, job)


def kill(work: Trial, fleet: Fleet, rng: random.Random) -> None:
    """Kill a worker whose chunk has not lost two already."""
    stop(work, fleet, rng, 0, then=signal.SIGKILL)


def stop(
    work: Trial, fleet: Fleet, rng: random.Random, seconds: float, then: signal.Signals = signal.SIGCONT
) -> None:
    """Stop a worker for so long, past its lease; no chunk may lose three workers."""

    def stopped() -> bool:
        pid = rng.choice(fleet.pids)
        if not fleet.freeze(pid):
            return False
        held = work.held_by(pid)
        if held is not None and held.attempts >= MAX_ATTEMPTS:
            fleet.send(pid, signal.SIGCONT)
            return False
        time.sleep(seconds)
        return fleet.send(pid, then)

    wait_for(stopped)


def troubles(
    work: Trial, fleet: Fleet, redis: Redis, postgres: Postgres | None, rng: random.Random
) -> Iterator[Callable[[], None]]:
    """Give one trouble of each kind after the other, for ever."""
    while True:
        yield lambda: kill(work, fleet, rng)
        yield redis.kill
        yield redis.start
        yield lambda: stop(work, fleet, rng, LEASE + 1)
        if postgres is not None:
            yield postgres.crash_and_restart


def assert_chaos_changes_nothing(
    url: str,
    redis: Redis,
    postgres: Postgres | None,
    demo: Path,
    folder: Path,
    make_fleet: MakeFleet,
    *,
    pairs: int,
    workers: int,
    times: int,
) -> None:
    """Make trouble so many times along one job; compare every number with the undisturbed run's."""
    spec = JobSpec(str(demo), exact=0.1, dtype="float32")
    given = read_pairs(pairs)
    expected, rng = measure_undisturbed(folder, spec, given), random.Random(pairs)
    with Database.open(url) as database:
        job = submit(database, spec, given, chunk_size=2)
        work = Trial(database, job, expected, pairs // 2)
        options = {"broker": redis.url, "engine": "real", "models": (spec.model,), "lease": LEASE}
        with make_fleet(url, workers, **options) as fleet:
            trouble = troubles(work, fleet, redis, postgres, rng)
            for number in range(times):
                work.wait_until_done(1 + number * work.chunks // (times + 2), fleet)
                next(trouble)()
            work.wait_until_over(fleet)
            assert fleet.end() == [0] * workers
            assert set(fleet.codes) == {-signal.SIGKILL}
        assert checking.check(url).problems == ()
        assert_same(exported(database, job), expected)


def assert_same(found: Exported, expected: Exported) -> None:
    """Compare what pairs gave; a cell is drawn or not by its score, which may be a hair's breadth away."""
    for what in ("scores", "pairs"):
        assert_near(found[what], expected[what], TOLERANCE)
    left, right = ({cell_of(row): row for row in rows["exact"]} for rows in (found, expected))
    both = left.keys() & right.keys()
    assert len(both) > 0.999 * max(len(left), len(right))
    for field in ("score", "effect"):
        assert_near(*([{field: rows[cell][field]} for cell in both] for rows in (left, right)), TOLERANCE)
    means = [
        [{"n": row["n"], "mean": row["mean"]} for row in rows["components"]] for rows in (found, expected)
    ]
    assert_near(*means, TOLERANCE)


def cell_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """Name a cell that was patched exactly."""
    return tuple(row[field] for field in ("pair", "site", "layer", "head", "position"))


def test_chaos_changes_no_number(
    postgres: Postgres,
    postgres_url: str,
    redis: Redis,
    demo: Path,
    tmp_path: Path,
    make_fleet: MakeFleet,
) -> None:
    """One trouble of each kind, on PostgreSQL."""
    assert_chaos_changes_nothing(
        postgres_url, redis, postgres, demo, tmp_path, make_fleet, pairs=40, workers=2, times=5
    )


@pytest.mark.slow
def test_much_chaos_changes_no_number(
    postgres: Postgres, url: str, redis: Redis, demo: Path, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Thirty troubles along 300 pairs, on either database."""
    server = None if url.startswith("sqlite") else postgres
    assert_chaos_changes_nothing(
        url, redis, server, demo, tmp_path, make_fleet, pairs=300, workers=4, times=30
    )
