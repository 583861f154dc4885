"""Workers get the chunks of the models they serve, the most urgent first."""

import pytest

from patchgrid.storage import Database
from patchgrid.storage.queue import leases
from support.storage.chunk_results import make_spec
from support.storage.leasing import claim, fail, note, nothing_to_claim
from support.storage.storage_backends import run_job, submit_job

A, B, C = (make_spec(model=name) for name in ("model/a", "model/b", "model/c"))


def test_each_chunk_goes_to_a_worker_of_its_model(database: Database) -> None:
    """One that serves none of them gets nothing, nor does one that serves nothing."""
    a, b = submit_job(database, 4, spec=A), submit_job(database, 4, spec=B)
    assert nothing_to_claim(database, models=["model/c"])
    assert nothing_to_claim(database, models=[])
    assert claim(database, models=["model/b"]).job_id == b.id
    assert nothing_to_claim(database, models=["model/b"])
    assert claim(database, models=["model/a", "model/b"]).job_id == a.id
    assert nothing_to_claim(database)


def test_of_several_models_the_most_urgent_chunk_goes_first(database: Database) -> None:
    """Then that of the older job, whatever the order of the names."""
    old = submit_job(database, 4, spec=B)
    new = submit_job(database, 4, spec=A)
    urgent = submit_job(database, 4, spec=C, priority=1)
    others = submit_job(database, 4, spec=make_spec(model="model/d"), priority=9)
    served = ["model/c", "model/b", "model/a"]
    assert [claim(database, models=served).job_id for _ in range(3)] == [urgent.id, old.id, new.id]
    assert nothing_to_claim(database, models=served)
    assert claim(database).job_id == others.id


def test_a_job_of_another_model_is_not_worked_on(database: Database) -> None:
    """Though the worker asked for that job."""
    job = submit_job(database, 4, spec=A)
    assert nothing_to_claim(database, job_id=job.id, models=["model/b"])
    assert claim(database, job_id=job.id, models=["model/b", "model/a"]).job_id == job.id


def test_a_lost_chunk_is_taken_over_by_its_model_too(database: Database) -> None:
    """And before younger chunks of the same job."""
    job = submit_job(database, 8, spec=A)
    lost = claim(database, models=["model/a"], seconds=0)
    assert nothing_to_claim(database, models=["model/b"])
    again = claim(database, models=["model/a"])
    assert (again.chunk_id, again.takeover) == (lost.chunk_id, True)
    assert run_job(database, job).state == "running"


def test_the_parts_of_a_split_chunk_keep_model_and_priority(database: Database) -> None:
    """So the right workers measure them, at their turn."""
    job = submit_job(database, 4, spec=A, priority=3)
    submit_job(database, 4, spec=A, priority=2, key="less urgent")
    claim(database, seconds=0)
    assert note(database, claim(database, seconds=0), 2)
    found = [claim(database, models=["model/a"]) for _ in range(3)]
    assert [(lease.first, lease.last) for lease in found] == [(0, 2), (2, 3), (3, 4)]
    assert {lease.job_id for lease in found} == {job.id}
    assert nothing_to_claim(database, models=["model/b"])


def test_the_wait_is_that_of_the_models_served(database: Database) -> None:
    """Others' chunks are nothing to wait for."""
    submit_job(database, 4, spec=A)
    with database.read() as session:
        assert leases.next_claim_in(session, models=["model/a"]) == 0
        assert leases.next_claim_in(session, models=["model/b"]) is None
        assert leases.next_claim_in(session, models=[]) is None
    fail(database, claim(database), retry_in=50)
    with database.read() as session:
        wait = leases.next_claim_in(session, models=["model/b", "model/a"])
    assert wait == pytest.approx(50, abs=5)
