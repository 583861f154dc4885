"""Jobs that faults are done to, and what must be left of them when all is over."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, func, select

from patchgrid.core.refinement import Refinement
from patchgrid.core.types import JobSpec, Pair
from patchgrid.storage import Database, checking
from patchgrid.storage.errors import StorageError
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress, job_progress
from patchgrid.storage.rounds.requests import ask, list_refinements
from patchgrid.storage.tables import chunk, outcome
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.runner import run_job
from patchgrid.workers.testing import load
from support.faults.fleet import Fleet
from support.workers.working import Exported, exported, submit

#: What most jobs here measure.
SPEC = JobSpec("stand-in", exact=0.3)
#: Seconds that a job may take, on however slow a machine.
PATIENCE = 600


@dataclass
class Trial:
    """A job on a database, beside what an undisturbed run of it gives."""

    database: Database
    job: JobRecord
    #: Every row that the undisturbed run exports.
    expected: Exported
    #: Chunks that the job was submitted in.
    chunks: int

    def progress(self) -> Progress:
        """Return the job's progress."""
        with self.database.read() as session:
            return job_progress(session, self.job.id)

    def state(self) -> str:
        """Return the job's state."""
        with self.database.read() as session:
            return jobs.get(session, self.job.id).state

    def held_by(self, pid: int) -> Sequence[Row[Any]]:
        """Return the chunks leased by a worker process: one being stored, one being measured."""
        mine = (chunk.c.state == "leased") & chunk.c.worker.like(f"%/{pid}/%")
        with self.database.read() as session:
            return session.execute(select(chunk).where(mine)).all()

    def rows(self) -> Sequence[Row[Any]]:
        """Return the job's chunks in order, without those of later rounds."""
        of_job = (chunk.c.job_id == self.job.id) & chunk.c.round.is_(None)
        with self.database.read() as session:
            return session.execute(select(chunk).where(of_job).order_by(chunk.c.first)).all()

    def wait_until_done(self, count: int, fleet: Fleet) -> None:
        """Wait until this many chunks are done."""
        self.wait(lambda: self.progress().chunks_done >= count, fleet)

    def wait_until_over(self, fleet: Fleet) -> None:
        """Wait until no chunk is left to do."""
        self.wait(lambda: self.state() in ("done", "failed"), fleet)

    def wait(self, check: Callable[[], bool], fleet: Fleet) -> None:
        """Wait for something, however slow the machine is."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if check():
                    return
            except StorageError:  # the server may be away
                pass
            assert time.monotonic() < end, f"{self.progress()}\n{fleet.log()[-4000:]}"
            time.sleep(0.05)

    def assert_exact(self, *, poison: Collection[int] = (), whole: bool = True) -> None:
        """Hold the job to the undisturbed run: each row once, each number the same.

        `poison` are the pairs that fail here alone; `whole`: the chunks are those submitted, none was split.
        """
        assert checking.check(self.database.url).problems == ()
        progress, rows = self.progress(), self.rows()
        assert self.state() == "done"
        assert progress.left == 0
        assert [row.first for row in rows] == [0, *(row.last for row in rows[:-1])]
        assert rows[-1].last == self.job.pairs
        if whole:
            assert len(rows) == self.chunks == progress.chunks_done
        with self.database.read() as session:
            of_job = select(func.count()).select_from(outcome).where(outcome.c.job_id == self.job.id)
            assert session.scalar(of_job) == self.job.pairs
        self._assert_rows(set(poison))

    def _assert_rows(self, poison: set[int]) -> None:
        found = exported(self.database, self.job) | refined(self.database, self.job)
        assert found.keys() == self.expected.keys()
        for what in found:
            if what == "components" and poison:
                continue  # sums over other pairs; `check` has added them up
            left, right = (
                [row for row in rows[what] if row.get("pair") not in poison]
                for rows in (found, self.expected)
            )
            assert len(left) == len(right) > 0, what
            # Those are added up in another order where chunks were measured pair by pair.
            if what in ("components", "refinements"):
                assert_near([flat(row) for row in left], [flat(row) for row in right], 1e-9)
            else:
                other = [both for both in zip(left, right, strict=True) if both[0] != both[1]]
                assert not other, (what, other[:3])


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose lists of rows are spread out, each value under a name of its own."""
    values = {}
    for name, value in row.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            values |= {
                f"{name} {number} {key}": each
                for number, part in enumerate(value)
                for key, each in part.items()
            }
        else:
            values[name] = value
    return values


def assert_near(left: Sequence[dict[str, Any]], right: Sequence[dict[str, Any]], rel: float) -> None:
    """Compare rows in order: numbers within `rel`, all else the same."""
    for one, other in zip(left, right, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            near = pytest.approx(value, rel=rel, abs=rel, nan_ok=True) if isinstance(value, float) else value
            assert one[name] == near, (name, one, other)


def undisturbed(
    folder: Path,
    spec: JobSpec,
    pairs: Sequence[Pair],
    chunk_size: int,
    refinements: Sequence[Refinement] = (),
) -> Exported:
    """Work the job off in this process and give every row that it exports, and what came of refinements."""
    with Database.open(f"sqlite:///{folder / 'undisturbed.db'}") as database:
        job = submit(database, spec, pairs, chunk_size=chunk_size, key=f"{time.time_ns()}")
        ask_all(database, job, refinements)
        run_job(database, load(ModelKey.of(spec)), job)
        return exported(database, job) | refined(database, job)


def ask_all(database: Database, job: JobRecord, refinements: Sequence[Refinement]) -> None:
    """Store what is to be refined when a job's scores are done."""
    with database.write() as session:
        for each in refinements:
            ask(session, job.id, each)


def refined(database: Database, job: JobRecord) -> Exported:
    """Return what came of a job's refinements."""
    with database.read() as session:
        records = list_refinements(session, job.id)
    return {"refinements": [dict(each.result or {}) for each in records]} if records else {}


@contextmanager
def trial(
    url: str,
    folder: Path,
    pairs: Sequence[Pair],
    *,
    spec: JobSpec = SPEC,
    chunk_size: int = 2,
    healthy: Sequence[Pair] | None = None,
    refinements: Sequence[Refinement] = (),
) -> Iterator[Trial]:
    """Submit a job; `healthy` are the pairs of the undisturbed run, if they are others."""
    expected = undisturbed(folder, spec, pairs if healthy is None else healthy, chunk_size, refinements)
    with Database.open(url) as database:
        job = submit(database, spec, pairs, chunk_size=chunk_size)
        ask_all(database, job, refinements)
        yield Trial(database, job, expected, -(-len(pairs) // chunk_size))
