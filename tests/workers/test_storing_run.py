"""A run stores a chunk while the next is measured, and what becomes of it when something happens."""

import threading

import pytest

from patchgrid.core.types import JobSpec
from patchgrid.storage import Database
from patchgrid.storage.errors import DatabaseFull
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import leases
from patchgrid.workers import runner
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.progress import RunProgress
from patchgrid.workers.runner import RunEnd, run_job
from patchgrid.workers.testing import load
from support.workers.gates import DONE, Gate
from support.workers.running import (
    chunks,
    submit_pairs,
)


def run(database: Database, job: JobRecord, gate: Gate | None = None, **options: object) -> RunEnd:
    """Work a job off in this process, on a stand-in."""
    engine = load(ModelKey.of(JobSpec("stand-in")), batch=2, on_begin=options.pop("on_begin", None))  # type: ignore[arg-type]
    return run_job(database, engine, job, **options)  # type: ignore[arg-type]


def test_a_run_counts_a_chunk_as_done_once_it_is_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then its pairs are in flight: what is reached only ever rises, to all there is."""
    job = submit_pairs(database, 12, {5: "NAN"})
    gate, finish = Gate(), leases.finish

    def finish_later(*args: object) -> bool:
        gate("before commit")
        return finish(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(leases, "finish", finish_later)
    seen: list[RunProgress] = []

    def on_progress(progress: RunProgress) -> None:
        seen.append(progress)
        if progress.in_flight == 8:
            gate.open()

    assert run(database, job, on_progress=on_progress) == RunEnd(stopped=False)
    assert RunProgress(0, 0, 0, 6.0) in seen
    assert seen[-1] == RunProgress(11, 1, 0, 0.0)
    reached = [each.done + each.failed + each.in_flight for each in seen]
    assert reached == sorted(reached)
    assert chunks(database, job) == [DONE] * 3


def test_a_run_that_is_stopped_keeps_what_it_has_computed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second chunk, before the first is stored."""
    job = submit_pairs(database, 8)
    gate, finish, stop = Gate(), leases.finish, threading.Event()

    def finish_later(*args: object) -> bool:
        gate("before commit")
        return finish(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(leases, "finish", finish_later)

    def on_progress(progress: RunProgress) -> None:
        if progress.in_flight > 4:
            stop.set()
            gate.open()

    assert run(database, job, on_progress=on_progress, stop=stop) == RunEnd(stopped=True)
    assert chunks(database, job) == [DONE, ("pending", 0, 1)]


def test_a_run_whose_database_stays_away_ends_with_its_error(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunk is free again, no attempt counts; what was measured meanwhile is stored if that can be."""
    job = submit_pairs(database, 8)
    finish, refused = leases.finish, iter([True])

    def finish_later(*args: object) -> bool:
        if next(refused, False):
            raise DatabaseFull("the disk is full")
        return finish(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(leases, "finish", finish_later)
    monkeypatch.setattr(runner, "_PATIENCE", 0.0)
    with pytest.raises(DatabaseFull, match="the disk is full"):
        run(database, job)
    assert chunks(database, job) == [("pending", 0, 1), DONE]
    assert run(database, job) == RunEnd(stopped=False)
    assert chunks(database, job) == [("done", 1, 2), DONE]


def test_an_error_in_a_run_leaves_the_chunk_before_stored(database: Database) -> None:
    """It goes to the caller as it is."""
    job = submit_pairs(database, 8, {5: "RAISE"})
    with pytest.raises(RuntimeError, match="makes trouble"):
        run(database, job)
    assert chunks(database, job) == [DONE, ("pending", 0, 1)]
