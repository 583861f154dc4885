"""What a worker says of itself."""

from dataclasses import replace

import pytest

from patchgrid.storage.queue.leases import Lease
from patchgrid.workers.node import statistics
from patchgrid.workers.node.statistics import Pace, WorkerStatistics

LEASE = Lease(chunk_id=7, job_id=3, epoch=1, attempts=1, first=10, last=20, worker="w", takeover=True)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Take the place of the real one."""
    clock = Clock()
    monkeypatch.setattr(statistics, "time", clock)
    return clock


def test_the_pace_is_an_average_over_the_last_two_minutes(clock: Clock) -> None:
    """Ten a second for a minute, then nothing: it falls, and is None when all of it is long ago."""
    pace = Pace()
    assert pace.per_second() is None
    for _ in range(60):
        pace.add(4.0)
        pace.add(6.0)
        clock.now += 1
    assert pace.per_second() == pytest.approx(10)
    clock.now += 60
    assert pace.per_second() == pytest.approx(5)
    clock.now += 30
    assert pace.per_second() == pytest.approx(2.5, abs=0.2)
    clock.now += 31
    assert pace.per_second() is None
    pace.add(120.0)
    assert pace.per_second() == pytest.approx(1)
    assert len(pace._seconds) == 1


def test_the_pace_counts_what_is_done_of_a_long_chunk(clock: Clock) -> None:
    """A chunk may take longer than the average looks back."""
    own = WorkerStatistics()
    own.begin(LEASE)
    for share in (0.1, 0.1, 0.3, 0.2, 0.5):
        clock.now += 1
        own.share(share)
    assert own.pace.per_second() == pytest.approx(1.0)


def test_the_state_says_what_matters_most(clock: Clock) -> None:
    """That it waits, then that it ends, then what it does."""
    own = WorkerStatistics()

    def state() -> str:
        return own.status((), None, None).state

    assert state() == "starting"
    own.started = True
    assert state() == "idle"
    own.begin(LEASE)
    assert state() == "working"
    status = own.status(("m",), 1, 2)
    assert (status.job_id, status.chunk_id, status.takeovers, status.loaded) == (3, 7, 1, ("m",))
    own.ending = True
    assert state() == "draining"
    own.trouble = "the disk is full"
    assert state() == "waiting"
    assert own.status((), None, None).message == "the disk is full"
    own.trouble = None
    own.end(replace(LEASE, chunk_id=6))
    assert own.status((), None, None).chunk_id == 7
    own.end(LEASE)
    assert own.status((), None, None).chunk_id is None
