"""What ends a Celery worker: signals, and the worker's own reasons; what becomes of its chunk and message."""

import signal
import time
from collections.abc import Callable

import pytest

from patchgrid.storage.queue import workers as registry
from support.machines.servers import wait_for
from support.workers.celery_workers import Place
from support.workers.gates import DONE
from support.workers.running import chunks, errors, registered

PENDING = ("pending", 0, 0)
#: A chunk that was claimed and handed back: no attempt counts.
HANDED_BACK = ("pending", 0, 1)
#: Seconds a pair, four of them a chunk: long enough to be caught at it.
SLOW = 0.25


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_one_signal_lets_a_worker_finish_its_chunk(place: Place, number: signal.Signals) -> None:
    """Within the grace; exit code 0, nothing handed back, and a message stays for what is left."""
    with place.worker(pair_seconds=SLOW) as worker:
        job = place.submit(count=12)
        wait_for(lambda: place.is_held(job, worker))
        worker.send(number)
        assert worker.join() == 0
        assert "exits: stopped" in worker.log()
    assert chunks(place.database, job) == [DONE, PENDING, PENDING]
    assert place.waiting() >= 2
    assert [record.state for record in registered(place.database)] == ["stopped"]
    with place.worker():
        wait_for(lambda: place.is_done(job))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_second_signal_hands_the_chunk_back(place: Place, number: signal.Signals) -> None:
    """After the current batch, however long the grace is; exit code 0."""
    with place.worker(pair_seconds=0.5, grace=600.0) as worker:
        job = place.submit(count=32, chunk_size=32)
        wait_for(lambda: place.is_held(job, worker))
        stop_twice(worker.send, number)
        assert worker.join() == 0
        assert "exits: stopped" in worker.log()
    assert chunks(place.database, job) == [HANDED_BACK]
    assert place.waiting() == 1, "its message's successor"


def stop_twice(send: Callable[[int], object], number: int) -> None:
    """Send a signal, and a second one: those within half a second count as one."""
    send(number)
    time.sleep(0.7)
    send(number)


def test_sigquit_hands_the_chunk_back_at_once(place: Place) -> None:
    """Celery's own cold shutdown would wait for the task."""
    with place.worker(pair_seconds=0.5, grace=600.0) as worker:
        job = place.submit(count=32, chunk_size=32)
        wait_for(lambda: place.is_held(job, worker))
        worker.send(signal.SIGQUIT)
        assert worker.join() == 0
    assert chunks(place.database, job) == [HANDED_BACK]


def test_signals_close_together_are_one(place: Place) -> None:
    """A cluster signals every process of a step, and the shell passes it on."""
    with place.worker(pair_seconds=0.5) as worker:
        job = place.submit(count=8)
        wait_for(lambda: place.is_held(job, worker))
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM):
            worker.send(number)
        assert worker.join() == 0
    assert chunks(place.database, job) == [DONE, PENDING]


def test_a_chunk_that_outlasts_the_grace_is_handed_back(place: Place) -> None:
    """One signal, a short grace."""
    with place.worker(pair_seconds=0.3, grace=0.1) as worker:
        job = place.submit(count=32, chunk_size=32)
        wait_for(lambda: place.is_held(job, worker))
        worker.send(signal.SIGTERM)
        assert worker.join() == 0
    assert chunks(place.database, job) == [HANDED_BACK]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGQUIT])
def test_an_idle_worker_ends_at_once(place: Place, number: signal.Signals) -> None:
    """Though the grace is long and it would not look for an hour."""
    with place.worker(grace=600.0) as worker:
        worker.send(number)
        assert worker.join() == 0
        assert "exits: stopped" in worker.log()
        assert "Traceback" not in worker.log()


def test_an_idle_worker_exits_after_idle_exit_seconds(place: Place) -> None:
    """Its message done, and without one."""
    with place.worker(idle_exit=1.5) as worker:
        job = place.work_off()
        assert worker.join() == 0
        assert "exits: idle" in worker.log()
    assert chunks(place.database, job) == [DONE]


def test_a_worker_exits_after_max_chunks(place: Place) -> None:
    """Celery's worker with it; the rest, and a message for it, waits."""
    with place.worker(max_chunks=2) as worker:
        job = place.submit(count=16)
        assert worker.join() == 0
        assert "exits: max chunks" in worker.log()
    assert chunks(place.database, job) == [DONE, DONE, PENDING, PENDING]
    assert place.waiting() > 0


@pytest.mark.parametrize("busy", [False, True])
def test_a_drained_worker_exits(place: Place, busy: bool) -> None:
    """By the database (`worker drain`): at once, or after its chunk."""
    with place.worker(pair_seconds=SLOW) as worker:
        if busy:
            job = place.submit(count=200)
            wait_for(lambda: place.is_held(job, worker))
        with place.database.write() as session:
            registry.drain(session, None)
        assert worker.join() == 0
        assert "exits: drained" in worker.log()
    if busy:
        assert set(chunks(place.database, job)) == {DONE, PENDING}


def test_a_device_error_ends_the_process_with_its_code(place: Place) -> None:
    """Which a supervisor restarts it for; the attempt counts, and the message's successor waits for it."""
    with place.worker(ready=False) as worker:
        job = place.submit(count=4, words={1: "CUDA"})
        assert worker.join() == 70
        assert "illegal memory access" in worker.log()
    assert chunks(place.database, job) == [("pending", 1, 1)]
    for _ in range(2):
        with place.worker(ready=False, poll=0.1) as worker:
            assert worker.join() == 70
    with place.worker(poll=0.1):
        wait_for(lambda: place.is_done(job))
    assert list(errors(place.database, job)) == [1]
