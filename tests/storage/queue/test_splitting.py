"""A pair that kills its workers is found, and costs nobody else anything."""

from collections.abc import Collection

import pytest
from sqlalchemy import select

from patchgrid.core.types import Pair
from patchgrid.storage import Database, checking
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.queue import leases
from patchgrid.storage.queue.leases import Lease
from patchgrid.storage.tables import chunk
from support.storage.leasing import chunks, claim, everything, fail, finish, note, nothing_to_claim
from support.storage.storage_backends import run_job, submit_job


def work_off(database: Database, job: JobRecord, killers: Collection[int]) -> dict[int, int]:
    """Work a job off with workers that die at some pairs; give how often each pair was begun."""
    begun: dict[int, int] = dict.fromkeys(range(job.pairs), 0)

    def survives(lease: Lease, indices: range) -> bool:
        for index in indices:
            if lease.careful:
                assert note(database, lease, index)
            begun[index] += 1
            if index in killers:
                return False
        return True

    while True:
        with database.write() as session:
            # A lease of no time: one that is not finished at once has been lost when the next claim comes.
            lease = leases.claim(session, "worker", lease_seconds=0)
        if lease is None:
            return begun
        if survives(lease, range(lease.first, lease.last)):
            assert finish(database, job, lease)


def test_the_second_attempt_is_a_careful_one(database: Database) -> None:
    """Unless there is but one pair in it anyway."""
    submit_job(database, 5)
    assert not claim(database, seconds=0).careful
    again = claim(database, seconds=0)
    assert (again.careful, again.takeover, again.attempts) == (True, True, 2)
    assert note(database, again, 0)
    single = claim(database, job_id=again.job_id, seconds=0)
    assert (single.first, single.last, single.attempts, single.careful) == (0, 1, 3, False)


def test_an_attempt_that_raised_is_repeated_carefully_too(database: Database) -> None:
    """It is no takeover."""
    submit_job(database, 4)
    fail(database, claim(database))
    again = claim(database)
    assert (again.careful, again.takeover) == (True, False)


@pytest.mark.parametrize(
    ("killer", "parts"),
    [
        (0, [(0, 1, "pending", 2), (1, 4, "pending", 1)]),
        (2, [(0, 2, "pending", 1), (2, 3, "pending", 2), (3, 4, "pending", 1)]),
        (3, [(0, 3, "pending", 1), (3, 4, "pending", 2)]),
    ],
)
def test_a_chunk_lost_twice_is_split_at_the_pair_it_was_at(
    database: Database, url: str, killer: int, parts: list[tuple[int, int, str, int]]
) -> None:
    """The pairs around it are measured carefully, the pair is tried once more by itself."""
    job = submit_job(database, 4)
    claim(database, seconds=0)
    lease = claim(database, seconds=0)
    assert note(database, lease, killer)
    last = claim(database)
    assert (last.first, last.careful) == (0, killer > 1)
    first, *others = parts
    assert chunks(database, job) == [(*first[:2], "leased", first[3] + 1), *others]
    assert checking.check(url).problems == ()
    assert finish(database, job, last)
    assert run_job(database, job).state == "done"
    assert checking.check(url).problems == ()


def test_a_pair_that_kills_its_workers_becomes_an_error_row(database: Database, url: str) -> None:
    """After three attempts; all others are measured, none more than three times."""
    job = submit_job(database, 10)
    begun = work_off(database, job, killers={5})
    assert begun[5] == 3
    assert max(begun.values()) == 3
    with database.read() as session:
        [(name, error)] = jobs.errors(session, job.id)
        progress = job_progress(session, job.id)
        assert jobs.get(session, job.id).state == "done"
    assert name == 5
    assert error == "failed after 3 attempts: its last worker worker was lost at this pair"
    assert (progress.total, progress.done, progress.failed) == (10, 9, 1)
    assert checking.check(url).problems == ()


def test_the_results_of_a_split_job_are_those_of_a_whole_one(database: Database) -> None:
    """But for the pair that was given up."""
    whole, split = submit_job(database, 10, key="whole"), submit_job(database, 10, key="split")
    run_job(database, whole, failed={5})
    work_off(database, split, killers={5})
    wanted, found = everything(database, whole), everything(database, split)
    assert [row["pair"] for row in found["scores"]] == [row["pair"] for row in wanted["scores"]]
    assert found["scores"] == wanted["scores"]
    assert found["exact"] == wanted["exact"]
    for one, other in zip(wanted["components"], found["components"], strict=True):
        assert other == {key: pytest.approx(value, nan_ok=True) for key, value in one.items()}


@pytest.mark.parametrize("killers", [{0, 1}, {0, 3}, {4, 5, 6, 7}, set(range(10))])
def test_several_such_pairs_are_all_found(database: Database, url: str, killers: set[int]) -> None:
    """In one chunk too, each after three attempts at most."""
    job = submit_job(database, 10)
    begun = work_off(database, job, killers)
    assert max(begun.values()) <= 3
    with database.read() as session:
        assert {name for name, _ in jobs.errors(session, job.id)} == killers
        assert job_progress(session, job.id).done == 10 - len(killers)
        assert jobs.get(session, job.id).state == ("failed" if len(killers) == 10 else "done")
    assert checking.check(url).problems == ()


def test_a_careful_attempt_that_fails_splits_too(database: Database) -> None:
    """With its own cause, and its pause before the pair is tried again."""
    job = submit_job(database, 4)
    fail(database, claim(database))
    again = claim(database)
    assert note(database, again, 1)
    assert fail(database, again, retry_in=3600)
    assert chunks(database, job) == [(0, 1, "pending", 1), (1, 2, "pending", 2), (2, 4, "pending", 1)]
    assert [claim(database).first for _ in range(2)] == [0, 2]
    assert nothing_to_claim(database)


def test_the_cause_of_the_last_attempt_is_told(database: Database) -> None:
    """Here the pair raised in the end, where it had killed its worker before."""
    job = submit_job(database, 1)
    claim(database, seconds=0)
    claim(database, seconds=0)
    assert fail(database, claim(database))
    with database.read() as session:
        assert jobs.errors(session, job.id) == [(0, "failed after 3 attempts: out of memory")]


def test_an_attempt_lost_before_its_first_pair_splits_nothing(database: Database) -> None:
    """It is tried a third time, and the pair that one is lost at is given up at once."""
    job = submit_job(database, 4)
    claim(database, seconds=0)
    claim(database, seconds=0)
    third = claim(database, seconds=0)
    assert (third.attempts, third.careful) == (3, True)
    assert note(database, third, 2)
    assert run_job(database, job).state == "done"
    with database.read() as session:
        [(name, error)] = jobs.errors(session, job.id)
    assert (name, error.endswith("was lost at this pair")) == (2, True)


def test_a_pair_is_noted_only_by_who_holds_its_chunk(database: Database) -> None:
    """A late worker is fenced off; a pair of another chunk is a mistake."""
    submit_job(database, 4)
    late = claim(database, seconds=0)
    holder = claim(database)
    assert not note(database, late, 1)
    with pytest.raises(ValueError, match="pair 4 is not in"):
        note(database, holder, 4)


def test_a_late_worker_cannot_hand_in_a_chunk_that_was_split(database: Database) -> None:
    """Not even the part that kept its number."""
    job = submit_job(database, 4)
    claim(database, seconds=0)
    late = claim(database, seconds=0)
    assert note(database, late, 2)
    part = claim(database)
    assert part.chunk_id == late.chunk_id
    assert not finish(database, job, late)
    with database.write() as session:
        assert not leases.extend(session, late)
        assert not leases.fail(session, late, "late")
        assert not leases.release(session, late)
    assert finish(database, job, part)
    assert run_job(database, job).state == "done"


def test_handing_back_forgets_the_pair(database: Database) -> None:
    """A careful attempt that was interrupted is repeated as a careful one, and splits nothing."""
    job = submit_job(database, 4)
    claim(database, seconds=0)
    careful = claim(database)
    assert note(database, careful, 2)
    with database.write() as session:
        assert leases.release(session, careful)
    again = claim(database, seconds=0)
    assert (again.careful, again.attempts) == (True, 2)
    with database.read() as session:
        assert session.scalars(select(chunk.c.at_pair)).all() == [None]
    claim(database)
    assert [part[:2] for part in chunks(database, job)] == [(0, 4)]


def test_a_split_chunk_that_was_given_up_can_be_retried(database: Database, url: str) -> None:
    """Pair by pair of it as it was split."""
    job = submit_job(database, 4)
    work_off(database, job, killers={1})
    with database.write() as session:
        assert jobs.reopen(session, job.id) == 1
    assert work_off(database, job, killers=()) == {0: 0, 1: 1, 2: 0, 3: 0}
    with database.read() as session:
        assert jobs.errors(session, job.id) == []
    assert checking.check(url).problems == ()


def test_named_pairs_are_told_by_their_names(database: Database) -> None:
    """In the errors of a job that was split."""
    pairs = [Pair("clean", "corrupted", (" a",), (" b",), id=name) for name in ("x", "y", "z")]
    job = submit_job(database, pairs=pairs)
    work_off(database, job, killers={1})
    with database.read() as session:
        assert [name for name, _ in jobs.errors(session, job.id)] == ["y"]
