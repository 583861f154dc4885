"""Chunks that are stored while the next is measured, and what becomes of them when something happens."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy.exc import IntegrityError

from patchgrid.storage import Database
from patchgrid.storage.errors import DatabaseFull
from patchgrid.storage.queue import control, leases
from patchgrid.storage.queue.leases import Lease
from patchgrid.storage.tables import chunk
from patchgrid.workers.measuring.attempt import Computed
from patchgrid.workers.measuring.storing import Storing
from support.machines.servers import wait_for
from support.storage.chunk_results import chunk_result
from support.workers.gates import DONE, Gate
from support.workers.running import (
    Calls,
    chunks,
    make_worker,
    registered,
    running,
    state,
    submit_pairs,
    wait_for_state,
    work_off,
)


def computed(number: int, let_go: Callable[[], None] = lambda: None) -> Computed:
    """Return a measured chunk; its numbers do not matter."""
    lease = Lease(number, job_id=1, epoch=1, attempts=1, first=0, last=1, worker="w")
    return Computed(lease, None, 0.0, let_go)  # type: ignore[arg-type]


def test_one_chunk_is_on_its_way_while_another_is_ready() -> None:
    """In a thread of its own; the next is handed over only when that is through."""
    stored: list[tuple[int, str]] = []
    gate = threading.Event()

    def store(chunk: Computed) -> bool:
        assert gate.wait(20)
        stored.append((chunk.lease.chunk_id, threading.current_thread().name))
        return chunk.lease.chunk_id != 2

    with Storing(store) as storing:
        assert not storing.finish()
        storing.keep(computed(1))
        assert (storing.pending, storing.ready) == (1, computed(1).lease)
        storing.hand_over()
        storing.keep(computed(2))
        assert (storing.pending, storing.worked, stored) == (2, 0, [])
        gate.set()
        storing.hand_over()
        assert storing.worked == 1
        assert storing.finish()
        assert (storing.pending, storing.worked) == (0, 1)
        storing.keep(computed(3))
    assert [number for number, _ in stored] == [1, 2, 3], "what is ready is stored in the end"
    assert all(name.startswith("patchgrid-storing") for _, name in stored)


def test_what_storing_raises_comes_out_when_it_is_waited_for() -> None:
    """What is ready is stored all the same, and an error that ends the block is not hidden."""
    stored: list[int] = []

    def store(chunk: Computed) -> bool:
        stored.append(chunk.lease.chunk_id)
        if chunk.lease.chunk_id < 3:
            raise DatabaseFull("full")
        return True

    def work(first: int, second: int, last: int) -> float:
        with Storing(store) as storing:
            storing.keep(computed(first))
            storing.hand_over()
            storing.keep(computed(second))
            return 1 / last

    with pytest.raises(DatabaseFull):
        work(1, 3, last=1)
    with pytest.raises(ZeroDivisionError):
        work(2, 4, last=0)
    assert stored == [1, 3, 2, 4]


def test_what_is_dropped_is_not_stored_and_its_lease_let_go() -> None:
    """Another worker has it."""
    gone: list[int] = []
    with Storing(lambda _chunk: pytest.fail("it was stored")) as storing:
        storing.keep(computed(1, lambda: gone.append(1)))
        storing.drop()
        storing.drop()
        assert storing.pending == 0
    assert gone == [1]


def test_the_next_chunk_is_measured_while_one_is_stored_and_no_third_is_claimed(database: Database) -> None:
    """The one that is measured counts no attempt until it is stored."""
    job = submit_pairs(database, 12)
    calls, gate = Calls(), Gate()
    with running(database, calls, on_point=gate):
        wait_for(lambda: gate.reached.is_set() and len(calls.pairs) == 8)
        assert chunks(database, job) == [("leased", 0, 1), ("leased", 1, 1), ("pending", 0, 0)]
        gate.open()
        wait_for_state(database, job, "done")
    assert chunks(database, job) == [DONE] * 3
    assert len(calls.pairs) == 12


def test_both_leases_are_kept_for_longer_than_they_last(database: Database) -> None:
    """The one that is stored and the one that is measured."""
    job = submit_pairs(database, 8)
    calls, gate = Calls(), Gate()
    calls.on_batch = lambda: len(calls.pairs) > 4 and threading.Event().wait(2.0)
    with running(database, calls, on_point=gate, lease_seconds=1.5, name="slow"):
        assert gate.reached.wait(20)
        assert work_off(database, Calls(), idle_exit=3.0, name="other") == "idle"
        gate.open()
        wait_for_state(database, job, "done")
    assert chunks(database, job) == [DONE] * 2
    assert [(row.name, row.chunks, row.lease_losses) for row in registered(database)] == [
        ("other", 0, 0),
        ("slow", 2, 0),
    ]


def test_a_worker_that_stops_in_the_middle_of_a_chunk_stores_the_one_before(database: Database) -> None:
    """It hands back what it is at."""
    job = submit_pairs(database, 8)
    calls, gate = Calls(), Gate()
    with running(database, calls, on_point=gate) as one:

        def stop() -> None:
            if len(calls.pairs) > 4:
                assert gate.reached.wait(20)
                one.worker.stop_now()
                gate.open()

        calls.on_batch = stop
        assert one.join() == "stopped"
    assert chunks(database, job) == [DONE, ("pending", 0, 1)]
    assert len(calls.pairs) == 6


def test_a_broken_gpu_takes_nothing_from_the_chunk_before(database: Database) -> None:
    """That is stored before the process ends; the attempt at the other counts."""
    job = submit_pairs(database, 8, {5: "CUDA"})
    gate = Gate()
    calls = Calls()
    calls.on_batch = lambda: len(calls.pairs) > 4 and gate.reached.wait(20) and gate.open()
    with running(database, calls, on_point=gate) as one:
        wait_for(lambda: not one.runs)
    assert getattr(one.error, "exit_code", None) == 70
    assert chunks(database, job) == [DONE, ("pending", 1, 1)]


@pytest.mark.parametrize("when", ["measured", "on its way"])
def test_a_lease_lost_behind_the_measuring_is_told_once(database: Database, when: str) -> None:
    """Whether that shows when the next chunk is claimed or when this one is stored; the next is done."""
    job, other = submit_pairs(database, 4), submit_pairs(database, 4)
    calls = Calls()

    def cancel() -> None:
        with database.write() as session:
            control.cancel(session, job.id)

    def on_point(point: str) -> None:
        if when == "on its way":
            if point == "before commit" and state(database, job) != "cancelled":
                cancel()
        elif point == "computing" and len(calls.pairs) == 0:
            # Behind the last batch, where no heartbeat comes in time.
            calls.on_batch = lambda: len(calls.pairs) == 4 and state(database, job) == "running" and cancel()

    with running(database, calls, on_point=on_point):
        wait_for_state(database, other, "done")
    [row] = registered(database)
    assert (row.chunks, row.lease_losses, row.pairs) == (1, 1, 4)
    assert [each[0] for each in chunks(database, job)] == ["cancelled"]


def test_a_chunk_that_was_lost_is_no_chunk_worked_on(database: Database) -> None:
    """A worker that is to do two does another in its place, and never three."""
    lost, job = submit_pairs(database, 4), submit_pairs(database, 12)

    def on_point(point: str) -> None:
        if point == "before commit" and state(database, lost) != "cancelled":
            with database.write() as session:
                control.cancel(session, lost.id)

    assert work_off(database, Calls(), on_point=on_point, max_chunks=2) == "max chunks"
    assert chunks(database, job) == [DONE, DONE, ("pending", 0, 0)]


def test_results_that_cannot_be_written_fail_their_attempt(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not the one of the chunk that is measured meanwhile; the second attempt is a careful one."""
    job = submit_pairs(database, 8)
    finish, failures = leases.finish, iter([True])

    def finish_later(*args: object) -> bool:
        if next(failures, False):
            raise IntegrityError("INSERT", {}, Exception("not as it should be"))
        return finish(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(leases, "finish", finish_later)
    assert work_off(database, Calls(), idle_exit=1.5) == "idle"
    assert chunks(database, job) == [("done", 2, 2), DONE]
    assert "failed (attempt 1): IntegrityError" in caplog.text


def test_a_chunk_that_was_tried_before_is_alone(database: Database) -> None:
    """Nothing is stored while it is measured, and nothing measured while it is stored."""
    first = submit_pairs(database, 4)
    with database.write() as session:
        assert leases.claim(session, "lost", lease_seconds=0) is not None
    second = submit_pairs(database, 8)
    with database.write() as session:
        session.execute(chunk.update().where(chunk.c.job_id == first.id).values(priority=-1))
        tried = leases.claim(session, "tried", job_id=second.id)
        assert tried is not None
        assert leases.fail(session, tried, "it raised", retry_in=0)
    seen: list[tuple[str, int]] = []

    def on_point(point: str) -> None:
        mine = (chunk.c.state == "leased") & (chunk.c.worker != "lost")
        with database.read() as session:
            seen.append((point, len(session.execute(chunk.select().where(mine)).all())))

    work_off(database, Calls(), on_point=on_point)
    assert (chunks(database, first), chunks(database, second)) == ([("done", 2, 2)], [("done", 2, 2), DONE])
    claims = [held for point, held in seen if point == "claimed"]
    assert claims == [1, 1, 2], "the one that was never tried is stored when the next is claimed"
    assert [held for point, held in seen if point == "computing"] == [1, 1, 1]
    assert [held for point, held in seen if point == "before commit"] == [1, 2, 1]


def test_waiting_to_store_is_no_progress_of_what_is_measured(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that hangs is found though the database is away; a worker that waits for it alone is let be."""
    worker = make_worker(database, Calls())
    progress: list[int] = []
    monkeypatch.setattr(worker._watchdog, "progress", lambda: progress.append(1))
    worker._wait_to_store("the server is away")
    assert progress == []
    worker._storing.awaited = True
    worker._wait_to_store("the server is away")
    assert progress == [1]


def test_a_measured_chunk_whose_claim_the_server_forgot_is_dropped(database: Database) -> None:
    """It is claimed again, by the same worker, with the same epoch: stored once, and counted once."""
    job = submit_pairs(database, 8)
    calls = Calls()
    forgotten = {"state": "pending", "epoch": 0, "attempts": 0, "lease_until": None, "worker": None}

    def forget() -> None:
        if len(calls.pairs) == 4:
            with database.write() as session:
                session.execute(chunk.update().where(chunk.c.job_id == job.id).values(forgotten))

    calls.on_batch = forget
    work_off(database, calls)
    assert chunks(database, job) == [DONE] * 2
    assert len(calls.pairs) == 12
    [row] = registered(database)
    assert (row.chunks, row.pairs, row.lease_losses) == (2, 8, 1)


def test_what_is_measured_is_stored_as_it_is(database: Database) -> None:
    """The contract of `Computed`: it lets go of its lease, whatever happens."""
    job = submit_pairs(database, 4)
    gone: list[int] = []
    with database.write() as session:
        lease = leases.claim(session, "worker")
        assert lease is not None
    one = Computed(lease, chunk_result(job, lease), 0.0, lambda: gone.append(1))

    class Away:
        def write(self, _action: object) -> bool:
            raise DatabaseFull("full")

    with pytest.raises(DatabaseFull):
        one.store(Away())  # type: ignore[arg-type]
    assert gone == [1]
