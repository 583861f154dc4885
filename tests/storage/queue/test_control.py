"""Pausing, going on with, cancelling and retrying a job."""

import pytest

from patchgrid.storage import Database, checking, errors, tables
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.queue import control, leases
from support.storage.chunk_results import chunk_result
from support.storage.leasing import chunks, claim, everything, fail, finish, note, nothing_to_claim
from support.storage.storage_backends import run_chunk, run_job, submit_job


def state(database: Database, job: JobRecord) -> str:
    """Return the job's state."""
    with database.read() as session:
        return jobs.get(session, job.id).state


def states(database: Database, job: JobRecord) -> list[str]:
    """Return the states of the job's chunks, by their pairs."""
    return [part[2] for part in chunks(database, job)]


def pause(database: Database, job: JobRecord) -> None:
    """Pause the job."""
    with database.write() as session:
        control.pause(session, job.id)


def unpause(database: Database, job: JobRecord) -> None:
    """Let the job go on."""
    with database.write() as session:
        control.unpause(session, job.id)


def cancel(database: Database, job: JobRecord) -> None:
    """Cancel the job."""
    with database.write() as session:
        control.cancel(session, job.id)


def test_a_paused_jobs_chunks_are_not_claimed_until_it_goes_on(database: Database) -> None:
    """Other jobs' are; what is being measured is finished."""
    job, other = submit_job(database, 12), submit_job(database, 4, key="other")
    lease = claim(database)
    pause(database, job)
    assert state(database, job) == "paused"
    assert states(database, job) == ["leased", "held", "held"]
    assert claim(database).job_id == other.id
    assert nothing_to_claim(database)
    assert finish(database, job, lease)
    with database.read() as session:
        assert leases.next_claim_in(session, job.id) is None
        progress = job_progress(session, job.id)
    assert (progress.done, progress.chunks_held, progress.chunks_pending) == (4, 2, 0)
    unpause(database, job)
    assert (state(database, job), states(database, job)) == ("running", ["done", "pending", "pending"])
    assert run_job(database, job).state == "done"


def test_a_job_paused_before_it_began_is_pending_afterwards(database: Database) -> None:
    """And begins when its first chunk is claimed."""
    job = submit_job(database, 4)
    pause(database, job)
    unpause(database, job)
    assert state(database, job) == "pending"
    assert run_job(database, job).started_at is not None


def test_pausing_and_going_on_may_be_repeated(database: Database) -> None:
    """Nothing changes the second time."""
    job = submit_job(database, 8)
    unpause(database, job)
    for _ in range(2):
        pause(database, job)
        assert (state(database, job), states(database, job)) == ("paused", ["held", "held"])
    for _ in range(2):
        unpause(database, job)
        assert (state(database, job), states(database, job)) == ("pending", ["pending", "pending"])


def test_a_chunk_handed_back_to_a_paused_job_is_held(database: Database) -> None:
    """However it comes back: released, failed, or found with a dead worker."""
    job = submit_job(database, 12)
    released, failed, _dead = (claim(database) for _ in range(3))
    pause(database, job)
    with database.write() as session:
        assert leases.release(session, released)
        assert leases.fail(session, failed, "out of memory")
        assert leases.release_dead(session, lambda worker: False) == 1
    assert [part[2:] for part in chunks(database, job)] == [("held", 0), ("held", 1), ("held", 0)]
    unpause(database, job)
    assert run_job(database, job).state == "done"


def test_a_lost_chunk_of_a_paused_job_is_held(database: Database) -> None:
    """It keeps its attempt, and goes on carefully."""
    job = submit_job(database, 4)
    claim(database, seconds=0)
    pause(database, job)
    assert nothing_to_claim(database)
    assert chunks(database, job) == [(0, 4, "held", 1)]
    unpause(database, job)
    assert claim(database).careful


def test_a_chunk_that_is_split_in_a_paused_job_is_held_in_all_its_parts(database: Database) -> None:
    """Until the job goes on."""
    job = submit_job(database, 4)
    claim(database, seconds=0)
    assert note(database, claim(database, seconds=0), 1)
    pause(database, job)
    assert nothing_to_claim(database)
    assert chunks(database, job) == [(0, 1, "held", 1), (1, 2, "held", 2), (2, 4, "held", 1)]
    unpause(database, job)
    assert run_job(database, job).state == "done"


def test_a_job_whose_last_chunk_was_being_measured_is_done_though_paused(database: Database) -> None:
    """There is nothing left to go on with."""
    job = submit_job(database, 4)
    lease = claim(database)
    pause(database, job)
    assert finish(database, job, lease)
    assert state(database, job) == "done"


def test_what_is_handed_in_to_a_cancelled_job_is_refused(database: Database, url: str) -> None:
    """What was stored before stays."""
    job = submit_job(database, 12)
    run_chunk(database, job)
    late = claim(database)
    cancel(database, job)
    assert states(database, job) == ["done", "cancelled", "cancelled"]
    assert nothing_to_claim(database)
    assert not note(database, late, late.first)
    assert not finish(database, job, late)
    with database.write() as session:
        assert not leases.extend(session, late)
        assert not leases.release(session, late)
        assert not leases.fail(session, late, "late")
        job = jobs.get(session, job.id)
        assert leases.next_claim_in(session, job.id) is None
        assert job_progress(session, job.id).done == 4
    assert (job.state, job.finished_at is None) == ("cancelled", False)
    assert checking.check(url).problems == ()


def test_cancelling_may_be_repeated_and_ends_a_paused_job_too(database: Database) -> None:
    """When it ended is told once."""
    job = submit_job(database, 4)
    pause(database, job)
    cancel(database, job)
    ended = 1_000_000.0
    with database.write() as session:
        session.execute(tables.job.update().values(finished_at=ended))
    cancel(database, job)
    with database.read() as session:
        assert jobs.get(session, job.id).finished_at == ended
    assert states(database, job) == ["cancelled"]


@pytest.mark.parametrize("change", [control.pause, control.unpause, control.cancel])
def test_a_job_that_is_over_cannot_be_changed(database: Database, change: object) -> None:
    """It is said in one line, with exit code 2; nor can one that does not exist."""
    job = run_job(database, submit_job(database, 4))
    assert callable(change)
    said = "job 1 is done: nothing to"
    with pytest.raises(errors.JobFinished, match=said) as caught, database.write() as session:
        change(session, job.id)
    assert caught.value.exit_code == 2
    with pytest.raises(errors.JobNotFound), database.write() as session:
        change(session, 77)


@pytest.mark.parametrize("change", [control.pause, control.unpause])
def test_a_cancelled_job_is_taken_up_by_a_retry_only(database: Database, change: object) -> None:
    """The error says so."""
    job = submit_job(database, 4)
    cancel(database, job)
    assert callable(change)
    with pytest.raises(errors.JobFinished, match="patchgrid job retry 1"), database.write() as session:
        change(session, job.id)


def test_a_cancelled_job_that_is_retried_ends_as_if_nothing_had_happened(
    database: Database, url: str
) -> None:
    """A worker from before stays fenced off."""
    calm, troubled = submit_job(database, 12, key="calm"), submit_job(database, 12, key="troubled")
    run_job(database, calm)
    run_chunk(database, troubled)
    late = claim(database)
    cancel(database, troubled)
    with database.write() as session:
        assert jobs.reopen(session, troubled.id) == 2
        assert jobs.get(session, troubled.id).finished_at is None
    assert state(database, troubled) == "running"
    assert not finish(database, troubled, late)
    again = claim(database)
    assert (again.chunk_id, again.attempts) == (late.chunk_id, 1)
    assert not finish(database, troubled, late)
    assert finish(database, troubled, again)
    assert run_job(database, troubled).state == "done"
    assert everything(database, troubled) == everything(database, calm)
    assert checking.check(url).problems == ()


def test_retrying_a_paused_job_leaves_it_paused(database: Database) -> None:
    """With its chunks held, those given up too."""
    job = submit_job(database, 8)
    for _ in range(leases.MAX_ATTEMPTS):
        fail(database, claim(database))
    pause(database, job)
    with database.write() as session:
        assert jobs.reopen(session, job.id) == 1
    assert (state(database, job), chunks(database, job)) == (
        "paused",
        [(0, 4, "held", 0), (4, 8, "held", 0)],
    )
    unpause(database, job)
    assert run_job(database, job).state == "done"


def test_a_result_handed_in_again_after_its_commit_is_taken_for_what_it_is(database: Database) -> None:
    """True, and nothing is written twice, as often as it comes; a later holder's is not mistaken for it."""
    job = submit_job(database, 8)
    first = claim(database, seconds=0)
    second = claim(database)
    for _ in range(3):
        assert finish(database, job, second)
        assert not finish(database, job, first)
    before = everything(database, job)
    with database.write() as session:
        # Other numbers than those that were committed: they must change nothing.
        assert leases.finish(session, second, chunk_result(job, second, failed={0, 1, 2, 3}))
    assert everything(database, job) == before
    run_job(database, job)
    assert finish(database, job, second)


def test_a_job_ends_with_its_last_chunk_while_other_jobs_wait(database: Database) -> None:
    """Chunks of other jobs that wait do not keep it running."""
    first, second = submit_job(database, 6), submit_job(database, 7)
    assert run_chunk(database, first)
    assert run_chunk(database, first)
    with database.read() as session:
        assert jobs.get(session, first.id).state == "done"
        assert jobs.get(session, second.id).state == "pending"
