"""A batch that hangs, and pairs that kill: processes that end, and chunks that do not end with them."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import support.faults.fault_worker
from patchgrid.storage import Database
from patchgrid.workers.measuring.causes import cause_of
from patchgrid.workers.node import watchdog
from patchgrid.workers.node.watchdog import Watchdog
from support.faults.fault_worker import WorkerOptions
from support.machines.servers import wait_for
from support.workers.running import Calls, chunks, errors, registered, state, submit_pairs, work_off

_ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def run_worker(database: Database, **options: object) -> "subprocess.CompletedProcess[str]":
    """Run a worker process to its end."""
    values: dict[str, Any] = {"idle_exit": 0.3, "lease": 1.0, "poll": 0.05, **options}
    told = json.dumps(asdict(WorkerOptions(database.url, log="", **values)))
    command = [sys.executable, support.faults.fault_worker.__file__, told]
    return subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)


class Ends:
    """Takes the place of the process's end."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.said: list[str] = []


@pytest.fixture
def ends() -> Ends:
    """Return the watchdog's actions."""
    return Ends()


def test_a_process_without_progress_is_ended(ends: Ends, capfd: pytest.CaptureFixture[str]) -> None:
    """With the stacks of all its threads, the last word told, and exit code 70."""
    dog = Watchdog(0.2, on_hang=ends.said.append, end=ends.codes.append)
    dog.start()
    wait_for(lambda: ends.codes, 10)
    dog.stop()
    assert ends.codes == [70]
    assert "the process hangs; exiting" in ends.said[0]
    stacks = capfd.readouterr().err
    assert "Current thread" in stacks
    assert "test_watchdog.py" in stacks


def test_progress_keeps_a_process_alive(ends: Ends) -> None:
    """Each batch begins the time anew."""
    dog = Watchdog(0.3, end=ends.codes.append)
    dog.start()
    for _ in range(8):
        time.sleep(0.1)
        dog.progress()
    dog.stop()
    time.sleep(0.4)
    assert not ends.codes


def test_loading_a_model_may_take_longer_than_a_batch(ends: Ends) -> None:
    """But not forever either."""
    dog = Watchdog(0.1, loading_seconds=1.0, end=ends.codes.append)
    dog.start()
    with dog.loading():
        time.sleep(0.4)
        assert not ends.codes
    dog.progress()
    with dog.loading():
        wait_for(lambda: ends.codes, 10)
    dog.stop()


def test_a_database_that_hangs_too_does_not_keep_the_process(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last word is waited for for a moment only."""
    monkeypatch.setattr(watchdog, "_LAST_WORDS", 0.1)
    forever = threading.Event()
    dog = Watchdog(0.1, on_hang=lambda _message: forever.wait(30) and None, end=ends.codes.append)
    dog.start()
    wait_for(lambda: ends.codes, 10)
    forever.set()
    dog.stop()


def test_a_worker_whose_batch_hangs_ends_itself(database: Database) -> None:
    """Its chunk goes to another when the lease runs out; the registry says what happened."""
    job = submit_pairs(database, 3, {1: "HANG"})
    began = time.monotonic()
    ended = run_worker(database, watchdog=1.0)
    assert ended.returncode == 70
    assert time.monotonic() - began < 20
    assert "the process hangs; exiting" in ended.stderr
    assert "_make_trouble" in ended.stderr, "the stacks are missing"
    assert "hangs" in str(registered(database)[0].message)
    assert chunks(database, job) == [("leased", 1, 1)]


def test_a_worker_that_loads_for_long_is_let_be(database: Database) -> None:
    """Longer than a batch may take."""
    job = submit_pairs(database, 2)
    assert run_worker(database, watchdog=0.5, load_seconds=1.5).returncode == 0
    assert chunks(database, job) == [("done", 1, 1)]


def test_a_pair_that_kills_its_workers_costs_three_of_them(database: Database) -> None:
    """Then it is an error row, and all the others of its chunk are measured."""
    job = submit_pairs(database, 6, {2: "KILL"}, chunk_size=6)
    codes = [run_worker(database, lease=0.5, idle_exit=1.0).returncode for _ in range(4)]
    assert codes == [-9, -9, -9, 0]
    assert state(database, job) == "done"
    [(index, reason)] = errors(database, job).items()
    assert index == 2
    assert "was lost at this pair" in reason
    assert cause_of(reason) == "crashed"


def test_a_dead_worker_s_chunk_is_taken_over_when_its_lease_runs_out(database: Database) -> None:
    """No sooner, and soon after."""
    job = submit_pairs(database, 2, {0: "KILL"})
    assert run_worker(database, lease=3.0).returncode == -9
    assert work_off(database, Calls(), idle_exit=0.5) == "idle"
    assert chunks(database, job) == [("leased", 1, 1)]


def test_a_worker_that_waits_for_work_does_not_hang(database: Database) -> None:
    """However seldom it polls."""
    assert run_worker(database, watchdog=0.5, poll=600.0, idle_exit=2.0).returncode == 0
