"""The worker of the cluster: what it takes, when it ends, and what becomes of its chunk then."""

import re
import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import select

from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.queue import control, leases, workers
from patchgrid.storage.tables import chunk, provenance
from support.machines.servers import wait_for
from support.workers.running import (
    MODEL,
    Calls,
    chunks,
    errors,
    make_worker,
    registered,
    running,
    state,
    submit_pairs,
    wait_for_state,
    work_off,
)

DONE = ("done", 1, 1)


class Once:
    """Acts at the so many-th call, and never again."""

    def __init__(self, act: Callable[[], object], at: int = 1) -> None:
        self._act, self._at, self._calls = act, at, 0

    def __call__(self) -> None:
        """Count."""
        self._calls += 1
        if self._calls == self._at:
            self._act()


def test_a_worker_works_jobs_off_and_tells_what_it_did(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Every chunk at its first attempt; the model is loaded once; the registry has the counts."""
    caplog.set_level("INFO")
    first, second = submit_pairs(database, 9), submit_pairs(database, 4, {2: "NAN"})
    calls = Calls()
    assert work_off(database, calls, name="one") == "idle"
    assert chunks(database, first) == [DONE] * 3
    assert (state(database, first), state(database, second)) == ("done", "done")
    assert calls.loaded == [MODEL]
    [row] = registered(database)
    assert (row.name, row.state, row.chunks, row.pairs) == ("one", "stopped", 4, 13)
    assert (row.device, row.models, row.lost) == ("cpu", (MODEL,), False)
    assert row.failures == {"not-a-number": 1}
    assert (row.lease_losses, row.takeovers) == (0, 0)
    assert row.pairs_per_second is not None
    assert row.pairs_per_second > 1
    for sentence in (
        "worker one started on cpu, serving stand-in",
        f"claimed chunk 1 of job {first.id}",
        r"loaded stand-in in \d+\.\d s",
        rf"finished chunk 4 of job {second.id} in \d+\.\d s: 4 pairs, 1 failed",
        "worker one exits: idle",
    ):
        assert re.search(sentence, caplog.text)


def test_jobs_of_higher_priority_come_first(database: Database) -> None:
    """Whenever they were submitted."""
    low = submit_pairs(database, 4)
    with database.write() as session:
        session.execute(chunk.update().values(priority=-1))
    high = submit_pairs(database, 4)
    assert work_off(database, Calls(), max_chunks=1) == "max chunks"
    assert (state(database, low), state(database, high)) == ("pending", "done")


def test_a_worker_ends_after_so_many_chunks(database: Database) -> None:
    """The rest is left to others."""
    job = submit_pairs(database, 16)
    assert work_off(database, Calls(), max_chunks=3) == "max chunks"
    assert chunks(database, job) == [DONE] * 3 + [("pending", 0, 0)]


def test_a_worker_passes_the_points_in_order(database: Database) -> None:
    """Those that tests of faults name; a chunk is stored once the next is claimed, in a thread of its own."""
    points: list[tuple[bool, str]] = []
    mine = threading.current_thread()
    submit_pairs(database, 8)
    work_off(
        database, Calls(), on_point=lambda name: points.append((threading.current_thread() is mine, name))
    )
    assert [name for here, name in points if here] == ["claimed", "computing"] * 2
    assert [name for here, name in points if not here] == ["before commit", "committed"] * 2
    assert [name for _, name in points[:3]] == ["claimed", "computing", "claimed"]
    assert [name for _, name in points[-2:]] == ["before commit", "committed"]


def test_a_drained_worker_finishes_its_chunk_and_ends(database: Database) -> None:
    """It says meanwhile that it drains."""
    job = submit_pairs(database, 8)
    calls = Calls()
    draining = threading.Event()

    def drain() -> None:
        with database.write() as session:
            assert workers.drain(session, ["one"]) == ["one"]
        wait_for(lambda: registered(database)[0].state == "draining")
        draining.set()

    calls.on_batch = Once(drain)
    with running(database, calls, name="one") as one:
        assert one.join() == "drained"
    assert draining.is_set()
    assert chunks(database, job) == [DONE, ("pending", 0, 0)]
    assert registered(database)[0].state == "stopped"


def test_an_idle_worker_is_drained_at_once(database: Database) -> None:
    """Though it would not look for a minute."""
    with running(database, Calls(), poll=60.0) as one:
        wait_for(lambda: [row.state for row in registered(database)] == ["idle"])
        with database.write() as session:
            workers.drain(session, None)
        assert one.join(5) == "drained"


def test_a_stopped_worker_finishes_its_chunk_within_the_grace(database: Database) -> None:
    """Nothing is handed back, nothing more is taken."""
    job = submit_pairs(database, 8)
    calls = Calls()
    with running(database, calls, grace=20.0) as one:
        calls.on_batch = Once(one.worker.stop)
        assert one.join() == "stopped"
    assert chunks(database, job) == [DONE, ("pending", 0, 0)]


def test_a_chunk_that_outlasts_the_grace_is_handed_back(database: Database) -> None:
    """After the running batch, its attempt not counted."""
    job = submit_pairs(database, 4)
    calls = Calls(seconds=0.3)
    with running(database, calls, grace=0.1) as one:
        calls.on_batch = Once(one.worker.stop)
        assert one.join() == "stopped"
    assert chunks(database, job) == [("pending", 0, 1)]
    assert len(calls.pairs) == 2


def test_a_second_word_hands_the_chunk_back_at_once(database: Database) -> None:
    """First it is told to finish, then to end."""
    job = submit_pairs(database, 8)
    calls = Calls()
    with running(database, calls, grace=60.0) as one:
        calls.on_batch = Once(lambda: (one.worker.stop(), one.worker.stop_now()))
        assert one.join(5) == "stopped"
    assert chunks(database, job) == [("pending", 0, 1), ("pending", 0, 0)]


def test_an_idle_worker_stops_at_once(database: Database) -> None:
    """Though the grace is long and it would not look for a minute."""
    with running(database, Calls(), poll=60.0, grace=60.0) as one:
        wait_for(lambda: [row.state for row in registered(database)] == ["idle"])
        one.worker.stop()
        assert one.join(5) == "stopped"


def test_a_worker_at_rest_leaves_the_database_to_others(database: Database) -> None:
    """It reads whether there is something, and does not lock to find out."""
    claims: list[object] = []
    real = leases.claim

    def claim(*args: object, **options: object) -> object:
        claims.append(args)
        return real(*args, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(leases, "claim", claim)
        work_off(database, Calls(), idle_exit=0.6, poll=0.02)
    assert len(claims) == 1


def test_a_cancelled_job_s_chunk_is_dropped(database: Database) -> None:
    """The worker finds out at its next heartbeat, and ends the chunk at the next batch."""
    job = submit_pairs(database, 40, chunk_size=40)
    calls = Calls(seconds=0.1)

    def cancel() -> None:
        with database.write() as session:
            control.cancel(session, job.id)

    calls.on_batch = Once(cancel, at=2)
    with running(database, calls, lease_seconds=1.0):
        wait_for(lambda: [row.lease_losses for row in registered(database)] == [1], 10)
    assert chunks(database, job) == [("cancelled", 1, 2)]
    assert len(calls.pairs) < 30
    with database.read() as session:
        assert job_progress(session, job.id).done == 0


def test_a_paused_job_is_let_be_until_it_goes_on(database: Database) -> None:
    """The chunk at hand is finished; the rest waits, whatever messages arrive."""
    job = submit_pairs(database, 12)
    calls = Calls()

    def pause() -> None:
        with database.write() as session:
            control.pause(session, job.id)

    calls.on_batch = Once(pause)
    with running(database, calls):
        wait_for(lambda: chunks(database, job)[0] == DONE)
        time.sleep(0.3)
        assert chunks(database, job) == [DONE, ("held", 0, 0), ("held", 0, 0)]
        with database.write() as session:
            control.unpause(session, job.id)
        wait_for_state(database, job, "done")


def test_a_pair_that_raises_fails_alone(database: Database) -> None:
    """The chunk is tried again, carefully: the others of it are measured."""
    job = submit_pairs(database, 12, {5: "RAISE"})
    work_off(database, Calls(), idle_exit=1.2)
    assert state(database, job) == "done"
    assert errors(database, job) == {5: "RuntimeError: the pair makes trouble"}
    assert chunks(database, job) == [DONE, ("done", 2, 2), DONE]
    assert registered(database)[0].failures == {"error": 1}


def test_what_a_model_cannot_give_is_not_asked_for_again(database: Database) -> None:
    """Its pairs say why, after one attempt."""
    job = submit_pairs(database, 4, {1: "REFUSE"})
    work_off(database, Calls(), idle_exit=1.2)
    assert state(database, job) == "failed"
    assert set(errors(database, job).values()) == {"SpecError: this model has no site 'q'"}


def test_a_deleted_job_s_chunk_is_dropped(database: Database) -> None:
    """Its worker goes on with the next job."""
    job, other = submit_pairs(database, 4), submit_pairs(database, 4)
    calls = Calls()

    def delete() -> None:
        with database.write() as session:
            jobs.delete(session, job.id)

    calls.on_batch = Once(delete)
    work_off(database, calls)
    assert state(database, other) == "done"
    assert registered(database)[0].lease_losses == 1


def test_a_broken_gpu_ends_the_process(database: Database) -> None:
    """With the exit code that a supervisor starts it again for; the attempt counts, and it says why."""
    job = submit_pairs(database, 4, {1: "CUDA"})
    for attempt in (1, 2, 3):
        with running(database, Calls()) as one:
            wait_for(lambda: not one.runs, 10)
        assert getattr(one.error, "exit_code", None) == 70, attempt
        assert "illegal memory access" in str(one.error)
    work_off(database, Calls())
    assert state(database, job) == "done"
    [(index, reason)] = errors(database, job).items()
    assert index == 1
    assert "CUDA error: an illegal memory access" in reason


def test_two_workers_of_different_models_each_measure_their_own_job(database: Database) -> None:
    """At the same time; what is stored names the model that made it."""
    left = submit_pairs(database, 40, model="left")
    right = submit_pairs(database, 40, model="right")
    for_left, for_right = Calls(seconds=0.005), Calls(seconds=0.005)
    with (
        running(database, for_left, models=("left",), name="l"),
        running(database, for_right, models=("right",), name="r"),
    ):
        wait_for_state(database, left, "done")
        wait_for_state(database, right, "done")
    assert (for_left.loaded, for_right.loaded) == (["left"], ["right"])
    with database.read() as session:
        query = select(chunk.c.model, provenance.c.model).join(
            provenance, chunk.c.provenance_id == provenance.c.id
        )
        assert {tuple(row) for row in session.execute(query)} == {("left", "left"), ("right", "right")}
    assert [(row.name, row.chunks) for row in registered(database)] == [("l", 10), ("r", 10)]


def test_one_worker_serves_several_models(database: Database) -> None:
    """Each is loaded once; jobs of other models are let be."""
    served = [submit_pairs(database, 8, model=model) for model in ("left", "right", "left")]
    other = submit_pairs(database, 4, model="other")
    calls = Calls()
    work_off(database, calls, models=("left", "right"))
    assert [state(database, job) for job in served] == ["done"] * 3
    assert state(database, other) == "pending"
    assert calls.loaded == ["left", "right"]


def test_two_workers_share_a_job(database: Database) -> None:
    """No chunk is measured twice."""
    job = submit_pairs(database, 80)
    first, second = Calls(seconds=0.005), Calls(seconds=0.005)
    with running(database, first, name="a"), running(database, second, name="b"):
        wait_for_state(database, job, "done")
    assert chunks(database, job) == [DONE] * 20
    assert len(first.pairs) + len(second.pairs) == 80
    assert min(len(first.pairs), len(second.pairs)) > 0


def test_a_worker_is_in_the_registry_while_it_works(database: Database) -> None:
    """With its chunk, its model and its memory."""
    job = submit_pairs(database, 4)
    calls = Calls()
    seen: list[workers.WorkerRecord] = []

    def look() -> None:
        wait_for(lambda: registered(database)[0].chunk_id is not None and registered(database)[0].loaded)
        seen.extend(registered(database))

    calls.on_batch = Once(look)
    work_off(database, calls, name="one")
    [row] = seen
    assert (row.state, row.job_id, row.loaded) == ("working", job.id, (MODEL,))
    assert row.memory_used is not None
    assert row.memory_total is not None
    assert 0 < row.memory_used < row.memory_total


def test_two_stops_in_a_row_keep_the_first_deadline(database: Database) -> None:
    """A supervisor that says it again does not put the end off."""
    worker = make_worker(database, Calls(), grace=0.2)
    worker.stop()
    wait_for(worker._is_over)
    worker.stop()
    assert worker._is_over()
