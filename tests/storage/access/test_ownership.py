"""A job's owners: whoever submitted it; what each may do to the others."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from patchgrid.pairs import PairFile
from patchgrid.storage import Database, errors, tables
from patchgrid.storage.access import ownership, quotas
from patchgrid.storage.access.submitting import Order, Stored, Submitter, store
from patchgrid.storage.jobs import deletion, job_list, jobs
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.queue import control
from support.storage.chunk_results import make_pairs, make_spec
from support.storage.pair_files import jsonl, write
from support.storage.storage_backends import run_chunk, run_job, submit_job

ANN, BOB = Submitter(user="ann"), Submitter(user="bob")
Submit = Callable[..., Stored]


@pytest.fixture
def submit(database: Database, tmp_path: Path) -> Iterator[Submit]:
    """Return a function that submits a number of pairs for a user."""
    opened = []

    def call(by: Submitter, count: int = 8, name: str | None = None) -> Stored:
        pairs = [
            {"clean": pair.clean, "corrupted": pair.corrupted, "correct": " a", "incorrect": " b"}
            for pair in make_pairs(count)
        ]
        file = PairFile.open(write(tmp_path, jsonl(*pairs), f"{len(opened)}.jsonl"))
        opened.append(file)
        return store(database, Order(make_spec(), file, file.check(), name, chunk_size=4), by=by)

    yield call
    for file in opened:
        file.close()


def cancel(database: Database, by: Submitter, job_id: int, *, everyone: bool = False) -> tuple[str, ...]:
    """Cancel for somebody."""
    with database.write() as session:
        return ownership.cancel(session, job_id, by.owner, everyone=everyone)


def state(database: Database, job_id: int) -> str:
    """Return a job's state."""
    with database.read() as session:
        return jobs.get(session, job_id).state


def test_a_cancelled_job_continues_for_the_next_who_submits_it(database: Database, submit: Submit) -> None:
    """Who cancelled it is no owner of it any more, until they submit it again."""
    job = submit(ANN).job
    run_chunk(database, job)
    assert cancel(database, ANN, job.id) == ()
    assert state(database, job.id) == "cancelled"
    found = submit(BOB)
    assert (found.job.id, found.created, found.reopened) == (job.id, False, True)
    assert found.job.state == "running"
    with database.read() as session:
        assert ownership.owners_of(session, job.id) == ["user bob"]
        assert not ownership.may_steer(session, job.id, ANN.owner)
        assert job_progress(session, job.id).done == 4, "nothing is measured twice"
    assert submit(ANN).reopened is False
    assert run_job(database, job).state == "done"


def test_cancelling_withdraws_while_others_own_the_job(database: Database, submit: Submit) -> None:
    """However often it is repeated; the last owner's cancel ends it, or one for everyone."""
    job = submit(ANN).job
    submit(BOB)
    for _ in range(2):
        assert cancel(database, ANN, job.id) == ("bob",)
    assert state(database, job.id) == "pending"
    assert cancel(database, BOB, job.id) == ()
    assert state(database, job.id) == "cancelled"
    with database.read() as session:
        assert all(ownership.may_steer(session, job.id, by.owner) for by in (ANN, BOB))
        assert not ownership.may_steer(session, job.id, "user cid")
    submit(ANN)
    submit(BOB)
    assert cancel(database, ANN, job.id, everyone=True) == ()
    assert state(database, job.id) == "cancelled"


def test_somebody_who_never_owned_a_job_cancels_it_for_all(database: Database, submit: Submit) -> None:
    """They are admins, or work on the database itself."""
    job = submit(ANN).job
    submit(BOB)
    assert cancel(database, Submitter(user="root"), job.id) == ()
    assert state(database, job.id) == "cancelled"


def test_a_done_job_of_several_owners_cannot_be_cancelled(database: Database, submit: Submit) -> None:
    """No more than one of a single owner."""
    job = run_job(database, submit(ANN).job)
    submit(BOB)
    with pytest.raises(errors.JobFinished):
        cancel(database, ANN, job.id)


def test_a_repeated_request_does_not_reopen_a_job(database: Database, submit: Submit) -> None:
    """It may have been under way since before the job was cancelled."""
    by = Submitter(user="ann", idempotency_key="monday")
    job = submit(by).job
    cancel(database, ANN, job.id)
    assert submit(by).reopened is False
    assert state(database, job.id) == "cancelled"
    assert submit(Submitter(user="ann", idempotency_key="tuesday")).reopened


def test_one_of_several_owners_cannot_pause(database: Database, submit: Submit) -> None:
    """The others would wait for nothing; admins may."""
    job = submit(ANN).job
    submit(BOB)
    with database.write() as session, pytest.raises(errors.JobShared, match="shared with bob"):
        ownership.pause(session, job.id, ANN.owner)
    with database.write() as session:
        ownership.pause(session, job.id, ANN.owner, everyone=True)
    assert state(database, job.id) == "paused"


def test_deleting_a_job_keeps_it_for_its_other_owners(database: Database, submit: Submit) -> None:
    """The last one's deletes it; the same pairs are a new job at once."""
    job = run_job(database, submit(ANN).job)
    submit(BOB)
    with database.write() as session:
        assert ownership.delete(session, job.id, ANN.owner) == ("bob",)
    assert state(database, job.id) == "done"
    with database.write() as session:
        assert ownership.delete(session, job.id, BOB.owner) == ()
    with database.read() as session, pytest.raises(errors.JobNotFound):
        jobs.get(session, job.id)
    again = submit(ANN)
    assert again.created
    deletion.finish(database)
    with database.read() as session:
        for table in (tables.pair, tables.chunk, tables.outcome, tables.sums, tables.submission):
            assert set(session.scalars(select(table.c.job_id))) <= {again.job.id}, table.name
        assert [record.id for record, _ in job_list.page(session)] == [again.job.id]


def test_a_large_job_is_deleted_in_steps(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each a transaction; stopped between two, the next deletion ends it, and late results are refused."""
    job, other = submit_job(database, 40), run_job(database, submit_job(database, 12, key="other"))
    for _ in range(4):
        run_chunk(database, job)
    monkeypatch.setattr(deletion, "_PAIRS", 8)
    with database.write() as session:
        deletion.begin(session, job.id)
    assert run_chunk(database, job) is False
    assert deletion._remove_some(database, job.id)
    with database.read() as session:
        assert sorted(
            session.scalars(select(tables.pair.c.pair_index).where(tables.pair.c.job_id == job.id))
        ) == [*range(8, 40)]
        assert job_list.find(session, "last").id == other.id
    deletion.finish(database)
    with database.read() as session:
        for table in tables.metadata.sorted_tables:
            if "job_id" in table.c and table is not tables.worker:
                assert set(session.scalars(select(table.c.job_id))) <= {other.id}, table.name
        assert job_progress(session, other.id).done == 12


def test_a_job_that_is_being_deleted_is_gone_for_everybody(database: Database, submit: Submit) -> None:
    """Until its rows are gone it counts towards no limit, and no request finds it or brings it back."""
    by = Submitter(user="ann", idempotency_key="once")
    job = submit(by).job
    submit_job(database, 4, key=f"deleted {job.id}")
    with database.write() as session:
        ownership.delete(session, job.id, ANN.owner)
    with database.read() as session:
        assert ownership.count_open(session, ANN.owner) == 0
        assert quotas.stored_bytes(session, [ANN.owner]) == {}
    for change in (control.pause, control.cancel, control.unpause):
        with database.write() as session, pytest.raises(errors.JobNotFound):
            change(session, job.id)
    with database.write() as session, pytest.raises(errors.JobNotFound):
        ownership.reopen(session, job.id, ANN)
    again = submit(by)
    assert again.created
    assert again.job.id != job.id


def test_names_are_looked_up_among_ones_own_jobs_first(database: Database, submit: Submit) -> None:
    """And `last`; then among all, where it has to be one."""
    anns, bobs = submit(ANN, 5, "ioi").job, submit(BOB, 6, "ioi").job
    only = submit(BOB, 7, "other").job
    with database.read() as session:
        assert job_list.find(session, "ioi", ANN.owner).id == anns.id
        assert job_list.find(session, "ioi", BOB.owner).id == bobs.id
        assert job_list.find(session, "last", ANN.owner).id == anns.id
        assert job_list.find(session, "other", ANN.owner).id == only.id
        for stranger in ("user cid", None):
            assert job_list.find(session, "last", stranger).id == only.id
            with pytest.raises(errors.JobNotFound, match="2 jobs are named 'ioi'"):
                job_list.find(session, "ioi", stranger)
    submit(ANN, 9, "ioi")
    with database.read() as session, pytest.raises(errors.JobNotFound, match="2 jobs of yours are named"):
        job_list.find(session, "ioi", ANN.owner)


def test_what_an_owners_jobs_take_is_added_up(database: Database, submit: Submit) -> None:
    """Pairs and results, ended or not; a cancelled job is charged to who had it, a deleted one to nobody."""

    def used(by: Submitter) -> int:
        with database.read() as session:
            return quotas.stored_bytes(session, [by.owner]).get(by.owner, 0)

    job = submit(ANN).job
    pairs = used(ANN)
    assert pairs == job.bytes > 8 * len("clean 0corrupted 0")
    run_chunk(database, job)
    begun = used(ANN)
    with database.read() as session:
        blobs = (
            session.scalars(select(tables.scores.c.data)).all()
            + session.scalars(select(tables.sums.c.data)).all()
        )
    assert begun - pairs > 0.5 * sum(map(len, blobs))
    submit(BOB)
    assert used(BOB) == begun
    job = run_job(database, job)
    assert used(ANN) == job.bytes > begun
    with database.write() as session:
        ownership.delete(session, job.id, ANN.owner)
    assert (used(ANN), used(BOB)) == (0, job.bytes)
    other = submit(ANN, 6).job
    cancel(database, ANN, other.id)
    assert used(ANN) == other.bytes > 0


def test_a_submit_beyond_the_quota_is_refused_whole(database: Database, submit: Submit) -> None:
    """The error says how much there is, and what to do."""
    first = submit(ANN).job
    by = Submitter(user="ann", most_bytes=first.bytes + 10)
    with pytest.raises(errors.QuotaExceeded, match="job delete"):
        submit(by, 20)
    assert submit(by, 8).created is False
    with database.read() as session:
        assert [record.id for record, _ in job_list.page(session)] == [first.id]
    assert submit(Submitter(user="ann", most_bytes=10**6), 20).created


def test_the_chunks_that_wait_again_count_as_waiting(database: Database, submit: Submit) -> None:
    """A reopened job's size is counted from its chunks until it ends again."""
    job = submit(ANN).job
    run_chunk(database, job)
    with database.write() as session:
        control.cancel(session, job.id)
    ended = submit(ANN)
    with database.read() as session:
        assert jobs.get(session, job.id).bytes < quotas.stored_bytes(session, [ANN.owner])[ANN.owner]
    assert run_job(database, ended.job).bytes > job.bytes
