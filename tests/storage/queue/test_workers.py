"""The registry of workers."""

import pytest
from sqlalchemy import text

from patchgrid.storage import Database, errors
from patchgrid.storage.jobs import jobs
from patchgrid.storage.queue import workers
from patchgrid.storage.queue.workers import WorkerInfo, WorkerRecord, WorkerStatus
from patchgrid.storage.tables import load_failure
from patchgrid.storage.tables import worker as table
from support.storage.storage_backends import submit_job


def info(name: str, host: str = "node1") -> WorkerInfo:
    """Return a worker's description of itself."""
    return WorkerInfo(name, host, 42, "cuda:0", ("model/a", "model/b"))


def register(database: Database, name: str, host: str = "node1") -> int:
    """Enter a worker."""
    with database.write() as session:
        return workers.register(session, info(name, host))


def listed(database: Database, *, lost_after: float = 60) -> list[WorkerRecord]:
    """Return all workers."""
    with database.read() as session:
        return workers.list_workers(session, lost_after=lost_after)


def age(database: Database, name: str, seconds: float) -> None:
    """Pretend that a worker was last heard of so long ago."""
    with database.write() as session:
        values = {"seen_at": table.c.seen_at - seconds}
        session.execute(table.update().where(table.c.name == name).values(values))


def test_a_worker_is_listed_with_what_it_says(database: Database) -> None:
    """What it is, what it is at, and how long ago it said so."""
    worker = register(database, "one")
    [record] = listed(database)
    assert (record.id, record.name, record.host, record.pid) == (worker, "one", "node1", 42)
    assert (record.state, record.models, record.loaded) == ("starting", ("model/a", "model/b"), ())
    status = WorkerStatus(
        state="working",
        message="it is late",
        loaded=("model/a",),
        job_id=3,
        chunk_id=77,
        memory_used=5 * 2**30,
        memory_total=80 * 2**30,
        chunks=4,
        pairs=256,
        pairs_per_second=12.5,
        lease_losses=1,
        takeovers=2,
        failures={"worker lost": 3},
    )
    with database.write() as session:
        assert not workers.beat(session, worker, status)
    [record] = listed(database)
    for name in status.__slots__:
        assert getattr(record, name) == getattr(status, name), name
    assert 0 <= record.seen_ago < 30
    assert not record.lost
    assert not record.drain


def test_workers_are_listed_by_name(database: Database) -> None:
    """Whenever they came."""
    for name in ("b", "c", "a"):
        register(database, name)
    assert [record.name for record in listed(database)] == ["a", "b", "c"]


def test_a_worker_that_comes_again_replaces_itself(database: Database) -> None:
    """Its counts begin anew, and it is not told to stop any more."""
    first = register(database, "one")
    with database.write() as session:
        workers.beat(session, first, WorkerStatus("working", pairs=100))
        workers.drain(session, None)
    again = register(database, "one", "node2")
    [record] = listed(database)
    assert (record.id, record.host, record.pairs, record.state) == (again, "node2", 0, "starting")
    assert not record.drain


def test_one_that_was_not_heard_of_is_lost(database: Database) -> None:
    """Until it says something; one that stopped is not lost."""
    worker, stopped = register(database, "one"), register(database, "stopped")
    with database.write() as session:
        workers.stop(session, stopped, WorkerStatus("idle", chunks=3))
    age(database, "one", 100)
    age(database, "stopped", 100)
    assert [(record.name, record.lost) for record in listed(database)] == [("one", True), ("stopped", False)]
    assert [record.lost for record in listed(database, lost_after=200)] == [False, False]
    with database.write() as session:
        workers.beat(session, worker, WorkerStatus("idle"))
    assert not listed(database)[0].lost


def test_one_that_stopped_keeps_its_counts(database: Database) -> None:
    """It is at nothing any more."""
    worker = register(database, "one")
    with database.write() as session:
        workers.note_load_failure(session, "one", "model/a", "no memory")
        last = WorkerStatus("draining", message="drained", loaded=("x",), job_id=1, chunk_id=2, pairs=9)
        workers.stop(session, worker, last)
        assert workers.load_failures(session, "model/a") == []
    [record] = listed(database)
    assert (record.state, record.pairs, record.message) == ("stopped", 9, "drained")
    assert (record.job_id, record.chunk_id, record.loaded) == (None, None, ())


def test_those_gone_for_a_day_are_left_out_and_for_a_week_forgotten(database: Database) -> None:
    """When the next one comes."""
    for name in ("day", "week", "now"):
        register(database, name)
    age(database, "day", 25 * 3600)
    age(database, "week", 8 * 24 * 3600)
    assert [record.name for record in listed(database)] == ["now"]
    register(database, "next")
    with database.read() as session:
        assert set(session.scalars(table.select().with_only_columns(table.c.name))) == {"day", "now", "next"}


def test_a_drained_worker_is_told_at_its_next_beat(database: Database) -> None:
    """And at every one after it; the others are not."""
    one, two = register(database, "one"), register(database, "two")
    with database.write() as session:
        assert workers.drain(session, ["one"]) == ["one"]
        assert workers.beat(session, one, WorkerStatus("working"))
        assert workers.beat(session, one, WorkerStatus("draining"))
        assert not workers.beat(session, two, WorkerStatus("working"))


def test_workers_go_by_name_beginning_id_or_host(database: Database) -> None:
    """A whole name goes before a beginning; all are drained by no name, but those that stopped."""
    ids = {name: register(database, name, host) for name, host in [("gpu-1", "a"), ("gpu-10", "b")]}
    ids["cpu-2"] = register(database, "cpu-2", "b")
    stopped = register(database, "stopped", "b")
    with database.write() as session:
        workers.stop(session, stopped, WorkerStatus("idle"))
        assert workers.drain(session, ["gpu-1"]) == ["gpu-1"]
        assert workers.drain(session, ["c"]) == ["cpu-2"]
        assert workers.drain(session, [str(ids["gpu-10"])]) == ["gpu-10"]
        assert workers.drain(session, ["b"]) == ["cpu-2", "gpu-10"]
        assert workers.drain(session, ["gpu-1", "cpu"]) == ["cpu-2", "gpu-1"]
        assert workers.drain(session, None) == ["cpu-2", "gpu-1", "gpu-10"]


@pytest.mark.parametrize(
    ("name", "said"), [("gpu", "2 workers' names begin with 'gpu'"), ("x", "no worker 'x'")]
)
def test_a_name_that_is_not_clear_drains_nobody(database: Database, name: str, said: str) -> None:
    """Not even those that were named well."""
    for known in ("gpu-1", "gpu-2", "cpu"):
        register(database, known)
    with pytest.raises(errors.WorkerNotFound, match=said), database.write() as session:
        workers.drain(session, ["cpu", name])
    assert not any(record.drain for record in listed(database))


def test_draining_all_where_there_is_none_tells_none(database: Database) -> None:
    """It is no error."""
    with database.write() as session:
        assert workers.drain(session, None) == []


def test_a_model_that_cannot_be_loaded_is_told_until_it_can(database: Database) -> None:
    """Each worker's last reason, and how often it tried."""
    register(database, "one")
    register(database, "two")
    with database.write() as session:
        workers.note_load_failure(session, "two", "model/a", "no memory")
        workers.note_load_failure(session, "one", "model/a", "no such file")
        workers.note_load_failure(session, "one", "model/a", "bad weights")
        workers.note_load_failure(session, "one", "model/b", "no memory")
    with database.read() as session:
        one, two = workers.load_failures(session, "model/a")
        assert (one.worker, one.error, one.attempts) == ("one", "bad weights", 2)
        assert (two.worker, two.error, two.attempts) == ("two", "no memory", 1)
        assert one.failed_at >= two.failed_at
    with database.write() as session:
        workers.clear_load_failure(session, "one", "model/a")
        assert [failure.worker for failure in workers.load_failures(session, "model/a")] == ["two"]
        assert [failure.worker for failure in workers.load_failures(session, "model/b")] == ["one"]


def test_old_failures_to_load_are_left_out(database: Database) -> None:
    """Their worker has been lost, or it would have tried again."""
    with database.write() as session:
        workers.note_load_failure(session, "one", "model/a", "no memory")
        session.execute(load_failure.update().values(failed_at=load_failure.c.failed_at - 25 * 3600))
        assert workers.load_failures(session, "model/a") == []


def test_names_longer_than_a_key_are_cut(database: Database) -> None:
    """A model may be a long path."""
    path = "/models/" + "x" * 400
    with database.write() as session:
        workers.note_load_failure(session, "w" * 300, path, "no memory")
        workers.note_load_failure(session, "w" * 300, path, "no memory")
        [failure] = workers.load_failures(session, path)
        assert failure.attempts == 2
        workers.clear_load_failure(session, "w" * 300, path)
        assert workers.load_failures(session, path) == []
    register(database, "w" * 300)


def test_a_beat_of_one_that_is_forgotten_is_taken(database: Database) -> None:
    """It changes nothing, and tells it to go on."""
    with database.write() as session:
        assert not workers.beat(session, 77, WorkerStatus("working"))
    assert listed(database) == []


def test_a_deleted_job_is_no_workers_any_more(database: Database) -> None:
    """Until the worker says what it is at next."""
    job, worker = submit_job(database), register(database, "one")
    with database.write() as session:
        workers.beat(session, worker, WorkerStatus("working", job_id=job.id, chunk_id=1))
        jobs.delete(session, job.id)
    [record] = listed(database)
    assert (record.job_id, record.chunk_id) == (None, None)


def test_ids_are_never_given_again(database: Database) -> None:
    """A beat of an old worker must not be taken for a new one's."""
    old = register(database, "old")
    with database.write() as session:
        session.execute(text("DELETE FROM worker"))
    assert register(database, "new") > old
