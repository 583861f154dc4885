"""Chunks are computed once, whatever becomes of the workers."""

from dataclasses import replace

import pytest

from patchgrid.storage import Database, checking, tables
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.progress import Progress, job_progress
from patchgrid.storage.queue import control, leases
from support.storage.chunk_results import chunk_result
from support.storage.leasing import (
    chunks,
    claim,
    everything,
    expire,
    fail,
    finish,
    note_computed,
    nothing_to_claim,
)
from support.storage.storage_backends import run_chunk, run_job, submit_job
from support.storage.watching import plan, statements


def test_chunks_are_claimed_in_order_each_once(database: Database) -> None:
    """Together they are all of the job's pairs."""
    job = submit_job(database, 10)
    found = [claim(database, f"worker {n}") for n in range(3)]
    assert [(lease.first, lease.last) for lease in found] == [(0, 4), (4, 8), (8, 10)]
    assert [lease.worker for lease in found] == ["worker 0", "worker 1", "worker 2"]
    assert {(lease.job_id, lease.epoch, lease.attempts) for lease in found} == {(job.id, 1, 1)}
    assert nothing_to_claim(database)


def test_jobs_of_higher_priority_go_first_then_older_ones(database: Database) -> None:
    """A worker for one job takes that job's chunks only."""
    first, second = submit_job(database, 2), submit_job(database, 3)
    urgent = submit_job(database, 4, priority=1)
    assert claim(database, job_id=second.id).job_id == second.id
    assert claim(database).job_id == urgent.id
    assert claim(database).job_id == first.id
    assert nothing_to_claim(database)


def test_a_lease_that_ran_out_is_taken_by_another_worker(database: Database) -> None:
    """With a higher epoch; one that is extended is not."""
    job = submit_job(database, 8)
    lost, kept = claim(database, "lost"), claim(database, "kept", seconds=0)
    with database.write() as session:
        assert leases.extend(session, kept, 60)
    assert nothing_to_claim(database)
    expire(database, lost)
    again = claim(database, "other")
    assert (again.chunk_id, again.epoch, again.attempts) == (lost.chunk_id, 2, 2)
    assert nothing_to_claim(database)
    assert finish(database, job, kept)


def test_a_late_worker_is_fenced_off(database: Database) -> None:
    """It can neither extend, release, fail nor finish what another holds or has finished; nothing changes."""
    job = submit_job(database, 4)
    late = claim(database, "late", seconds=0)
    holder = claim(database, "holder")

    def try_everything() -> list[bool]:
        with database.write() as session:
            return [
                leases.extend(session, late),
                leases.release(session, late),
                leases.fail(session, late, "late"),
                leases.finish(session, late, chunk_result(job, late, failed={0})),
            ]

    assert try_everything() == [False] * 4
    assert finish(database, job, holder)
    before = everything(database, job)
    assert try_everything() == [False] * 4
    assert everything(database, job) == before


def test_a_claim_that_the_server_forgot_is_fenced_off(database: Database) -> None:
    """A crash may lose a claim that was not on disk yet: another then makes it again, with the same epoch."""
    job = submit_job(database, 4)
    forgotten = claim(database, "forgotten")
    with database.write() as session:
        as_before = {"state": "pending", "epoch": 0, "attempts": 0, "lease_until": None, "worker": None}
        session.execute(tables.chunk.update().values(as_before))
    holder = claim(database, "holder")
    assert (holder.chunk_id, holder.epoch) == (forgotten.chunk_id, forgotten.epoch)
    assert not finish(database, job, forgotten)
    assert [state for _, _, state, _ in chunks(database, job)] == ["leased"]
    assert finish(database, job, holder)


def test_a_lease_that_ran_out_still_counts_until_it_is_taken(database: Database) -> None:
    """Work that is done is not thrown away for being late alone."""
    job = submit_job(database, 4)
    assert finish(database, job, claim(database, seconds=0))
    assert run_job(database, job).state == "done"


def test_a_result_that_does_not_fit_its_chunk_is_not_written(database: Database) -> None:
    """A worker's mistake must not become stored results."""
    job = submit_job(database, 8)
    first, second = claim(database), claim(database)
    with pytest.raises(ValueError, match="must have their outcomes"), database.write() as session:
        leases.finish(session, first, chunk_result(job, second))
    with database.read() as session:
        assert job_progress(session, job.id).done == 0
    assert finish(database, job, first)


def test_a_released_chunk_is_free_at_once_and_the_attempt_not_counted(database: Database) -> None:
    """A run that is stopped, however often, uses up nothing."""
    job = submit_job(database, 4)
    for _ in range(leases.MAX_ATTEMPTS + 2):
        lease = claim(database)
        assert lease.attempts == 1
        with database.write() as session:
            assert leases.release(session, lease)
    assert run_job(database, job).state == "done"


def test_a_failed_attempt_is_repeated_after_its_pause(database: Database) -> None:
    """Another chunk may go first."""
    submit_job(database, 8)
    first = claim(database)
    assert fail(database, first, retry_in=30)
    assert claim(database).first == 4
    assert nothing_to_claim(database)
    with database.read() as session:
        wait = leases.next_claim_in(session)
    assert wait is not None
    assert 0 < wait <= 30
    expire(database, first)
    again = claim(database)
    assert (again.chunk_id, again.attempts) == (first.chunk_id, 2)


def test_a_chunk_that_fails_too_often_is_given_up_and_the_rest_completes(database: Database) -> None:
    """Its pairs say why."""
    job = submit_job(database, 10)
    for attempt in range(1, leases.MAX_ATTEMPTS + 1):
        lease = claim(database)
        assert (lease.first, lease.attempts) == (0, attempt)
        assert fail(database, lease)
    done = run_job(database, job)
    assert done.state == "done"
    with database.read() as session:
        assert job_progress(session, job.id) == Progress(10, 6, 4, 0, 3, 2, 1, 0, 0, 0)
        reason = "failed after 3 attempts: out of memory"
        assert jobs.errors(session, job.id) == [(index, reason) for index in range(4)]


def test_a_chunk_that_would_fail_each_time_is_given_up_at_once(database: Database) -> None:
    """With the reason alone: it was not tried again."""
    job = submit_job(database, 10)
    lease = claim(database)
    with database.write() as session:
        assert leases.fail(session, lease, "the model has no such site", for_good=True)
    assert run_job(database, job).state == "done"
    with database.read() as session:
        assert jobs.errors(session, job.id) == [(index, "the model has no such site") for index in range(4)]


def test_a_chunk_that_loses_its_workers_is_given_up(database: Database, url: str) -> None:
    """Whoever looks for work next finds that out; a job of nothing else has failed."""
    job = submit_job(database, 4)
    for _ in range(leases.MAX_ATTEMPTS):
        claim(database, "fragile", seconds=0)
    assert nothing_to_claim(database)
    with database.read() as session:
        job = jobs.get(session, job.id)
        assert job_progress(session, job.id) == Progress(4, 0, 4, 0, 1, 0, 1, 0, 0, 0)
    assert job.state == "failed"
    assert "its last worker fragile was lost" in str(job.error)
    assert checking.check(url).problems == ()


def test_a_chunk_that_was_given_up_gets_a_fresh_start(database: Database, url: str) -> None:
    """Afterwards all is as if nothing had happened; pairs that failed by themselves stay failed."""
    calm, troubled = submit_job(database, 10, key="calm"), submit_job(database, 10, key="troubled")
    for _ in range(leases.MAX_ATTEMPTS):
        fail(database, claim(database, job_id=troubled.id))
    run_job(database, troubled, failed={5})
    with database.write() as session:
        assert leases.next_claim_in(session, troubled.id) is None
        assert jobs.reopen(session, troubled.id) == 1
        assert jobs.reopen(session, troubled.id) == 0
        assert jobs.get(session, troubled.id).state == "running"
    assert run_job(database, troubled, failed={5}).state == "done"
    run_job(database, calm, failed={5})
    assert everything(database, troubled) == everything(database, calm)
    assert checking.check(url).problems == ()


def test_reopening_gives_chunks_still_to_do_their_attempts_back(database: Database) -> None:
    """A job is resumed with all its chances."""
    job = submit_job(database, 4)
    fail(database, claim(database), retry_in=3600)
    with database.write() as session:
        assert jobs.reopen(session, job.id) == 0
    assert claim(database).attempts == 1


def test_chunks_of_dead_workers_are_freed_without_counting(database: Database) -> None:
    """Whoever restarts a killed run need not wait, and can be killed as often as they like."""
    job, other = submit_job(database, 8), submit_job(database, 3)
    for _ in range(leases.MAX_ATTEMPTS + 2):
        dead, alive = (claim(database, name, seconds=3600, job_id=job.id) for name in ("dead", "alive"))
        claim(database, "dead", seconds=3600, job_id=other.id)
        assert (dead.attempts, alive.attempts) == (1, 1)
        with database.write() as session:
            assert leases.release_dead(session, lambda worker: worker == "alive", job.id) == 1
            assert not leases.extend(session, dead)
            assert leases.release(session, alive)
            assert leases.release_dead(session, lambda worker: False) == 1
    assert run_job(database, job).state == "done"


def test_a_worker_that_lost_sight_of_its_claim_frees_it(database: Database) -> None:
    """Its commit had landed though the connection broke; others' chunks stay theirs, no attempt counts."""
    job = submit_job(database, 12)
    unseen, others = claim(database, "one"), claim(database, "two")
    with database.write() as session:
        assert leases.release_own(session, "one") == 1
        assert leases.release_own(session, "one") == 0
    again = claim(database, "one")
    assert (again.chunk_id, again.attempts) == (unseen.chunk_id, 1)
    assert not finish(database, job, unseen)
    assert finish(database, job, again)
    assert finish(database, job, others)
    assert run_job(database, job).state == "done"


def test_a_worker_that_lost_sight_of_its_claim_keeps_what_it_measured(database: Database) -> None:
    """The chunk that it is about to hand in is none of those that it does not know of."""
    job = submit_job(database, 8)
    measured, unseen = claim(database, "one"), claim(database, "one")
    assert note_computed(database, measured)
    with database.write() as session:
        assert leases.release_own(session, "one", keep=measured) == 1
    assert finish(database, job, measured)
    assert not finish(database, job, unseen)
    assert run_job(database, job).state == "done"


def test_a_measured_chunk_whose_worker_is_lost_counts_no_attempt(database: Database) -> None:
    """However often: it is taken over as it was, whole; and then alone, so that it happens once."""
    job = submit_job(database, 4)
    for epoch in range(1, leases.MAX_ATTEMPTS + 3):
        lease = claim(database, seconds=0)
        assert (lease.epoch, lease.attempts, lease.careful) == (epoch, 1, False)
        assert (lease.takeover, lease.suspect) == (epoch > 1, epoch > 1)
        assert note_computed(database, replace(lease, takeover=False), seconds=0)
        assert chunks(database, job) == [(0, 4, "leased", 0)]
    assert not finish(database, job, lease := replace(lease, epoch=1))
    assert finish(database, job, replace(lease, epoch=epoch))
    assert chunks(database, job) == [(0, 4, "done", 1)]


def test_a_measured_chunk_is_not_lost_to_the_claim_beside_it(database: Database) -> None:
    """Its own worker would take it over, for want of a heartbeat in time."""
    submit_job(database, 8)
    late = claim(database, "worker", seconds=0)
    with database.write() as session:
        assert leases.note_computed(session, late)
        other = leases.claim(session, "worker")
    assert other is not None
    assert other.first == 4


def test_a_measured_chunk_that_fails_after_all_counts_its_attempt(database: Database) -> None:
    """Its results may be what cannot be stored."""
    job = submit_job(database, 4)
    lease = claim(database)
    assert note_computed(database, lease)
    assert fail(database, lease)
    assert chunks(database, job) == [(0, 4, "pending", 1)]
    again = claim(database)
    assert (again.attempts, again.careful, again.suspect) == (2, True, True)


def test_a_chunk_that_was_tried_before_is_not_noted_as_measured(database: Database) -> None:
    """Its attempt counts until it is stored."""
    submit_job(database, 4)
    fail(database, claim(database))
    again = claim(database)
    with pytest.raises(ValueError, match="was tried before"):
        note_computed(database, again)


def test_a_measured_chunk_may_be_handed_back_paused_and_cancelled(database: Database) -> None:
    """As any other: no attempt counts, and what is late is refused."""
    job = submit_job(database, 8)
    first = claim(database, "dead")
    assert note_computed(database, first)
    with database.write() as session:
        assert leases.release(session, first)
    assert chunks(database, job)[0] == (0, 4, "pending", 0)
    again = claim(database, "dead")
    assert note_computed(database, again)
    with database.write() as session:
        assert leases.release_dead(session, lambda _worker: False) == 1
    assert chunks(database, job)[0] == (0, 4, "pending", 0)
    third, fourth = claim(database), claim(database, seconds=0)
    assert note_computed(database, third)
    assert note_computed(database, fourth, seconds=0)
    with database.write() as session:
        control.pause(session, job.id)
    assert nothing_to_claim(database)
    assert chunks(database, job) == [(0, 4, "leased", 0), (4, 8, "held", 0)]
    assert finish(database, job, third)
    with database.write() as session:
        control.unpause(session, job.id)
    last = claim(database)
    assert (last.first, last.attempts) == (4, 1)
    with database.write() as session:
        control.cancel(session, job.id)
    assert not note_computed(database, last)
    assert chunks(database, job) == [(0, 4, "done", 1), (4, 8, "cancelled", 1)]


def test_the_wait_for_a_chunk_is_known(database: Database) -> None:
    """0 when one is free, the time a lease or pause still lasts, None when there is none."""
    job = submit_job(database, 4)
    with database.write() as session:
        assert leases.next_claim_in(session) == 0
        lease = leases.claim(session, "worker", lease_seconds=50)
        assert lease is not None
        wait = leases.next_claim_in(session, job.id)
        assert wait is not None
        assert 49 < wait <= 50
    finish(database, job, lease)
    with database.read() as session:
        assert leases.next_claim_in(session) is None


def test_results_do_not_depend_on_the_order_of_the_chunks(database: Database) -> None:
    """Nor on how often they were tried."""
    straight, crooked = submit_job(database, 12, key="straight"), submit_job(database, 12, key="crooked")
    run_job(database, straight, failed={3})
    first, second = claim(database), claim(database)
    run_chunk(database, crooked)
    assert finish(database, crooked, second)
    fail(database, first)
    run_job(database, crooked, failed={3})
    assert everything(database, crooked) == everything(database, straight)


@pytest.mark.fresh_database  # what is known of the tables decides how they are read
def test_claiming_reads_no_more_chunks_in_a_large_job(database: Database) -> None:
    """Indexes lead to the next chunk, in the order in which chunks are due: none are read over, or sorted."""
    job = submit_job(database, 20)
    with statements(database) as seen:
        assert claim(database, job_id=job.id)
        assert claim(database)
    claims = [each for each in seen if each[0].startswith("UPDATE chunk") and "leased" in str(each[1])]
    assert len(claims) == 2
    for statement, parameters in claims:
        how = plan(database, statement, parameters)
        assert "ix_chunk" in how
        for slow in ("SCAN", "TEMP B-TREE", "Seq Scan", "Sort"):
            assert slow not in how, how


def test_a_job_begins_and_ends_by_its_own_chunks_alone(database: Database) -> None:
    """Whatever other jobs have still to do: at once, and not when somebody looks for work next."""
    other = submit_job(database, 8, key="other")
    job = submit_job(database, 4, priority=1)
    lease = claim(database)

    def states() -> list[str]:
        with database.read() as session:
            return [jobs.get(session, each.id).state for each in (other, job)]

    assert (lease.job_id, states()) == (job.id, ["pending", "running"])
    assert finish(database, job, lease)
    assert states() == ["pending", "done"]
    run_chunk(database, other)
    assert states() == ["running", "done"]


def test_those_who_hold_chunks_of_a_job_are_known(database: Database) -> None:
    """By name, for as long as they hold one."""
    first, second = submit_job(database), submit_job(database, 7)
    with database.write() as session:
        lease = leases.claim(session, "one", job_id=first.id)
        leases.claim(session, "two", job_id=first.id)
        leases.claim(session, "three", job_id=second.id)
        assert lease is not None
        assert leases.holders(session, first.id) == {"one", "two"}
        leases.release(session, lease)
        assert leases.holders(session, first.id) == {"two"}
