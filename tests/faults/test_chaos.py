"""Everything at once, on a real model: workers killed and stopped, Redis and PostgreSQL restarted."""

import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from patchgrid.core.types import JobSpec, Pair
from patchgrid.engine import Engine
from patchgrid.pairs import PairFile
from patchgrid.storage import Database, checking
from patchgrid.storage.queue.leases import MAX_ATTEMPTS
from patchgrid.workers.runner import run_job
from support.faults.fault_jobs import Trial, assert_near
from support.faults.fleet import Fleet, MakeFleet
from support.machines.servers import Postgres, Redis
from support.workers.working import Exported, exported, submit

EXAMPLES = Path(__file__).parents[2] / "examples"
#: What two runs of one model may differ by, for they fill batches differently.
TOLERANCE = 1e-5
LEASE = 6.0


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the demo model's folder."""
    folder = tmp_path_factory.mktemp("demo") / "model"
    shutil.copytree(EXAMPLES / "demo_model", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return folder


def read_pairs(count: int) -> list[Pair]:
    """Return the first pairs of the example."""
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


@dataclass
class Chaos:
    """What is done to everything, in turn."""

    work: Trial
    fleet: Fleet
    redis: Redis
    #: None: the database is a file.
    postgres: Postgres | None
    rng: random.Random
    #: When a worker was stopped that is still to be woken, and which.
    stopped: tuple[float, int] | None = None

    def troubles(self) -> Iterator[Callable[[], None]]:
        """Yield faults of each kind in turn, without end."""
        while True:
            yield self.kill
            yield self.stop
            yield self.redis.kill
            if self.postgres is not None:
                yield self.postgres.crash_and_restart
            yield self.redis.start
            yield self.wake

    def kill(self) -> None:
        """Kill a worker."""
        self.fleet.kill(self._freeze())

    def stop(self) -> None:
        """Stop a worker: not in the middle of a commit to SQLite, which would keep everyone out."""
        pid = self._freeze()
        while self.postgres is None and self._is_locked():
            self.fleet.send(pid, signal.SIGCONT)
            pid = self._freeze()
        self.stopped = time.monotonic(), pid

    def wake(self) -> None:
        """Wake the stopped worker, past its lease."""
        assert self.stopped is not None
        since, pid = self.stopped
        time.sleep(max(0.0, since + LEASE + 1 - time.monotonic()))
        self.fleet.send(pid, signal.SIGCONT)
        self.stopped = None

    def _is_locked(self) -> bool:
        """Tell whether nobody can write to the file."""
        path = self.work.database.engine.url.database
        with closing(sqlite3.connect(str(path), timeout=10, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            connection.execute("ROLLBACK")
            return False

    def _freeze(self) -> int:
        """Let a worker stand still that holds a chunk; but what loses three workers is taken for poison."""
        while True:
            pid = self.rng.choice(self.fleet.pids)
            if self.fleet.freeze(pid):
                held = self.work.held_by(pid)
                if self.work.state() == "done" or (held and max(row.attempts for row in held) < MAX_ATTEMPTS):
                    return pid
                self.fleet.send(pid, signal.SIGCONT)


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
            chaos = Chaos(work, fleet, redis, postgres, rng)
            made = 0
            for trouble in chaos.troubles():
                trouble()
                made += 1
                if made >= times and chaos.stopped is None:
                    break
                work.wait_until_done(made * work.chunks // (2 * times), fleet)
                if work.state() == "done" and chaos.stopped is None:
                    break
            assert made >= min(times, 5), "the job ended before everything had happened"
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
    assert len(left.keys() ^ right.keys()) <= 2 + len(right) // 1000
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
        postgres_url, redis, postgres, demo, tmp_path, make_fleet, pairs=40, workers=2, times=6
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
