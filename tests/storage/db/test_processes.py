"""Several processes on one database, some of them killed."""

import contextlib
import os
import signal

from patchgrid.storage import Database, checking, errors
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.output.export import FIELDS, export_rows
from patchgrid.storage.queue import control, leases
from support.machines.servers import wait_for
from support.storage import storage_processes as other
from support.storage.leasing import expire
from support.storage.storage_backends import all_jobs, run_job, submit_job
from support.storage.storage_processes import hear, process


def everything(database: Database, job: JobRecord) -> dict[str, list[dict[str, object]]]:
    """Return every export of a job."""
    return {what: list(export_rows(database, job, what)) for what in FIELDS}


def test_two_processes_never_claim_the_same_chunk(database: Database, url: str) -> None:
    """Together they do all of the job, with the results of one alone."""
    job = submit_job(database, 120, chunk_size=2, key="shared")
    with (
        process(other.claim_and_finish_all, url) as (_, one),
        process(other.claim_and_finish_all, url) as (_, two),
    ):
        assert (hear(one), hear(two)) == ("ready", "ready")
        one.send("go")
        two.send("go")
        claimed = [hear(one), hear(two)]
    assert sorted(claimed[0] + claimed[1]) == list(range(1, 61))
    assert all(claimed)
    alone = run_job(database, submit_job(database, 120, chunk_size=2, key="alone"))
    with database.read() as session:
        assert jobs.get(session, job.id).state == "done"
    assert everything(database, job) == everything(database, alone)
    assert checking.check(url).problems == ()


def test_two_processes_that_submit_the_same_job_get_the_same(url: str) -> None:
    """Even when each finds no database yet."""
    with process(other.submit_when_told, url) as (_, one), process(other.submit_when_told, url) as (_, two):
        assert (hear(one), hear(two)) == ("ready", "ready")
        one.send("go")
        two.send("go")
        assert hear(one) == hear(two)
    with Database.open(url) as database, database.read() as session:
        assert [job.pairs for job in all_jobs(session)] == [500]
    assert checking.check(url).problems == ()


def test_a_killed_submit_leaves_nothing(database: Database, url: str) -> None:
    """And the same job can be submitted afterwards."""
    with process(other.submit_and_hang, url) as (child, pipe):
        assert hear(pipe) == "half way"
        child.kill()
        child.join()
    with database.read() as session:
        assert all_jobs(session) == []
    assert checking.check(url).problems == ()
    assert run_job(database, submit_job(database, key="key")).state == "done"


def test_chunks_of_a_killed_worker_are_done_by_another(database: Database, url: str) -> None:
    """When their lease runs out, or at once by whoever knows that the worker is dead."""
    job = submit_job(database, 8)
    with process(other.claim_two_and_hang, url, 600) as (child, pipe):
        short, long = hear(pipe)
        child.kill()
        child.join()
    expire(database, short)
    with database.write() as session:
        again = leases.claim(session, "worker")
        assert again is not None
        assert (again.chunk_id, again.attempts) == (short.chunk_id, 2)
        assert leases.claim(session, "worker") is None
        assert leases.release(session, again)
        assert leases.release_dead(session, lambda worker: worker != "killed", job.id) == 1
        assert not leases.extend(session, long)
    assert run_job(database, job).state == "done"
    assert checking.check(url).problems == ()


def test_a_worker_killed_before_it_commits_has_written_nothing(database: Database, url: str) -> None:
    """Its chunk is done again, with the same results as if nothing had happened."""
    job = submit_job(database, 8, key="killed")
    with process(other.die_while_finishing, url) as (child, _):
        child.join(other.PATIENCE)
        assert child.exitcode == -9
    with database.write() as session:
        assert job_progress(session, job.id).done == 0
        assert leases.release_dead(session, lambda worker: False) == 1
    calm = run_job(database, submit_job(database, 8, key="calm"))
    assert everything(database, run_job(database, job)) == everything(database, calm)
    assert checking.check(url).problems == ()


def test_a_process_that_comes_too_late_writes_nothing(database: Database, url: str) -> None:
    """Another has done its chunk meanwhile."""
    job = submit_job(database, 4)
    with process(other.finish_late, url) as (_, pipe):
        assert hear(pipe) == "claimed"
        expire(database)
        job = run_job(database, job)
        before = everything(database, job)
        pipe.send("finish")
        assert hear(pipe) is False
    assert job.state == "done"
    assert everything(database, job) == before
    assert checking.check(url).problems == ()


def test_a_process_that_was_stopped_past_its_lease_is_fenced_off(database: Database, url: str) -> None:
    """It goes on as if no time had passed, and changes nothing."""
    job = submit_job(database, 4)
    with process(other.finish_late, url) as (child, pipe):
        assert hear(pipe) == "claimed"
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        pipe.send("finish")
        expire(database)
        job = run_job(database, job)
        before = everything(database, job)
        os.kill(child.pid, signal.SIGCONT)
        assert hear(pipe) is False
    assert job.state == "done"
    assert everything(database, job) == before


def test_a_job_that_is_steered_while_many_work_on_it_ends_whole(database: Database, url: str) -> None:
    """Nobody waits for another in a circle, whatever is paused, resumed, cancelled, retried and deleted."""
    job = submit_job(database, 80, chunk_size=2, key="steered")
    with (
        process(other.work_until_told, url) as (_, one),
        process(other.work_until_told, url) as (_, two),
    ):
        assert (hear(one), hear(two)) == ("ready", "ready")
        for turn in range(5):
            steps = (control.pause, control.unpause, jobs.reopen, control.cancel, jobs.reopen)
            doomed = submit_job(database, 8, chunk_size=2, key=f"doomed {turn}")
            for step in steps:
                with contextlib.suppress(errors.JobFinished), database.write() as session:
                    step(session, job.id)
            with database.write() as session:
                jobs.delete(session, doomed.id)
        wait_for(lambda: state_of(database, job) == "done")
        one.send("stop")
        two.send("stop")
        assert set(range(0, 80, 2)) <= {*hear(one), *hear(two)}
    alone = run_job(database, submit_job(database, 80, chunk_size=2, key="alone"))
    assert everything(database, job) == everything(database, alone)
    assert checking.check(url).problems == ()


def state_of(database: Database, job: JobRecord) -> str:
    """Return the job's state."""
    with database.read() as session:
        return jobs.get(session, job.id).state
