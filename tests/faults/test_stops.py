"""Workers stopped past their lease and woken again: what they hand in late is turned away."""

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Row

from patchgrid.storage.queue.workers import list_workers
from patchgrid.storage.tables import chunk
from patchgrid.workers.testing import make_pairs
from support.faults.fault_jobs import Trial, trial
from support.faults.fleet import Fleet, MakeFleet
from support.machines.servers import wait_for


@dataclass(frozen=True)
class Stopped:
    """A worker that stands still with a chunk or two."""

    pid: int
    held: Sequence[Row[Any]]


def stopped_workers(work: Trial, fleet: Fleet, known: dict[int, Stopped]) -> None:
    """Find the workers that stopped themselves since the last time."""
    for pid in set(fleet.pids) - known.keys():
        if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
            held = work.held_by(pid)
            assert held, "a worker stopped without a chunk"
            known[pid] = Stopped(pid, held)


def taken_over(work: Trial, one: Stopped) -> bool:
    """Tell whether other workers have claimed the chunks since."""
    before = {row.id: row.epoch for row in one.held}
    with work.database.read() as session:
        rows = session.execute(chunk.select().where(chunk.c.id.in_(before))).all()
    return all(row.epoch > before[row.id] for row in rows)


def wake_late_ones(work: Trial, fleet: Fleet, count: int) -> int:
    """Let workers that stop themselves stand until they have lost their chunks, `count` times in all.

    Give the number of chunks that they have lost so.
    """
    woken, lost, standing = 0, 0, dict[int, Stopped]()

    def wake() -> bool:
        nonlocal woken, lost
        stopped_workers(work, fleet, standing)
        for one in list(standing.values()):
            if taken_over(work, one):
                fleet.send(one.pid, signal.SIGCONT)
                wait_for(lambda one=one: psutil.Process(one.pid).status() != psutil.STATUS_STOPPED)
                del standing[one.pid]
                woken += 1
                lost += len(one.held)
        return woken == count

    wait_for(wake, 300, every=0.05)
    return lost


def assert_late_writes_are_fenced(
    url: str, folder: Path, make_fleet: MakeFleet, *, chunks: int, sleepers: int, workers: int, times: int
) -> None:
    """Let some workers stop themselves so many times each, at points where they hold a chunk."""
    rng = random.Random(times)
    with trial(url, folder, make_pairs(2 * chunks)) as work:
        fleet = make_fleet(url, workers, lease=3.0, pair_seconds=0.02)
        points = ["before commit", "computing", "before commit", "claimed"]
        fleet.next_options = [
            {
                "fault": signal.SIGSTOP,
                "point": points[number % len(points)],
                "passing": rng.randint(2, 4),
                "times": times,
            }
            for number in range(sleepers)
        ]
        with fleet:
            lost = wake_late_ones(work, fleet, sleepers * times)
            work.wait_until_over(fleet)
            assert fleet.end() == [0] * workers
        assert fleet.codes == []
        work.assert_exact(whole=False)
        with work.database.read() as session:
            records = list_workers(session)
        assert sleepers * times <= lost <= 2 * sleepers * times
        assert sum(record.lease_losses for record in records) == lost
        # A chunk that was lost twice is split instead, and its parts are claimed like any other.
        assert 0 < sum(record.takeovers for record in records) <= lost
        assert sum(record.chunks for record in records) == len(work.rows())


def test_late_writes_are_fenced_off_and_counted(url: str, tmp_path: Path, make_fleet: MakeFleet) -> None:
    """Two workers stop past their lease: one before the commit, one in the computing."""
    assert_late_writes_are_fenced(url, tmp_path, make_fleet, chunks=60, sleepers=2, workers=3, times=1)


@pytest.mark.slow
def test_twenty_late_writes_are_fenced_off_and_counted(
    url: str, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Five workers stop four times each."""
    assert_late_writes_are_fenced(url, tmp_path, make_fleet, chunks=1500, sleepers=5, workers=8, times=4)
