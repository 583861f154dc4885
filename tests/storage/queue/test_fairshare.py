"""Owners take turns, and so do an owner's large and small jobs."""

from collections import Counter
from itertools import chain

from sqlalchemy import select

from patchgrid.storage import Database, tables
from patchgrid.storage.access.ownership import Submitter, add_owner
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import control, leases
from patchgrid.storage.queue.turns import TURNS_OF_A_LOAD
from support.storage.chunk_results import make_pairs, make_spec
from support.storage.leasing import claim
from support.storage.storage_backends import submit_job


def submit(
    database: Database, user: str, chunks: int, *, model: str = "a/model", **options: int
) -> JobRecord:
    """Submit a user's job of so many chunks of one pair."""
    by = Submitter(user=user)
    with database.read() as session:
        number = len(session.scalars(select(tables.job.c.id)).all())
    job = submit_job(
        database,
        pairs=make_pairs(chunks),
        spec=make_spec(model=model),
        key=f"{user} {number}",
        chunk_size=1,
        owners=[by.owner],
        **options,
    )
    with database.write() as session:
        add_owner(session, job.id, by)
    return job


def claimed(database: Database, count: int) -> list[int]:
    """Claim so many chunks, one after the other; give the job of each."""
    return [claim(database).job_id for _ in range(count)]


def test_a_small_job_does_not_wait_for_anothers_large_one(database: Database) -> None:
    """However long that has been at work."""
    large = submit(database, "ann", 40)
    assert set(claimed(database, 10)) == {large.id}
    small = submit(database, "bob", 3)
    order = claimed(database, 7)
    assert [order.index(small.id), order.count(small.id)] <= [1, 3]
    assert order[-1] == large.id


def test_owners_take_turns_however_many_jobs_they_have(database: Database) -> None:
    """At any time while both wait, each has had half of the chunks, but for one."""
    owners = {submit(database, "ann", chunks).id: "ann" for chunks in (30, 2, 9, 2, 1)}
    owners[submit(database, "bob", 20).id] = "bob"
    owners |= {submit(database, "ann", chunks).id: "ann" for chunks in (3, 25)}
    had = Counter[str]()
    for job_id in claimed(database, 40):
        had[owners[job_id]] += 1
        assert abs(had["ann"] - had["bob"]) <= 1, had
    assert set(claimed(database, 52)) <= owners.keys()
    with database.write() as session:
        assert leases.claim(session, "worker") is None, "every chunk was claimed once"


def test_an_owners_small_jobs_go_at_every_second_turn_beside_a_large_one(database: Database) -> None:
    """One after the other; so the large one goes on whatever is submitted beside it."""
    large = submit(database, "ann", 60)
    claimed(database, 5)
    small = [submit(database, "ann", 4).id for _ in range(5)]
    order = claimed(database, 42)
    places = [[place for place, job_id in enumerate(order) if job_id == each] for each in small]
    assert [len(each) for each in places] == [4] * 5
    in_order = list(chain.from_iterable(places))
    assert sorted(in_order) == in_order, "in the order of their submission"
    assert places[-1][-1] <= 40
    assert order[: places[-1][-1]].count(large.id) >= 19
    assert claimed(database, 33) == [large.id] * 33


def test_a_job_between_goes_behind_smaller_ones(database: Database) -> None:
    """And no turn is given twice to one owner."""
    large, small, middle = (submit(database, "ann", chunks) for chunks in (50, 5, 12))
    order = claimed(database, 67)
    ends = {
        job.id: max(place for place, each in enumerate(order) if each == job.id) for job in (small, middle)
    }
    assert ends[small.id] <= 10
    assert ends[middle.id] <= 36
    assert Counter(order) == {large.id: 50, small.id: 5, middle.id: 12}
    with database.read() as session:
        turns = session.scalars(select(tables.chunk.c.turn)).all()
    assert len(set(turns)) == len(turns) == 67


def test_priority_goes_before_any_turn(database: Database) -> None:
    """Turns count among chunks of one priority."""
    submit(database, "ann", 3)
    urgent = submit(database, "ann", 4, priority=1)
    assert claimed(database, 4) == [urgent.id] * 4


def test_a_job_that_was_paused_does_not_overtake(database: Database) -> None:
    """Its turns are long past: it gets new ones. So does one that is tried again."""
    early = submit(database, "ann", 20)
    cancelled = submit(database, "cid", 20)
    with database.write() as session:
        control.pause(session, early.id)
        control.cancel(session, cancelled.id)
    late = submit(database, "bob", 60)
    assert claimed(database, 30) == [late.id] * 30
    with database.write() as session:
        control.unpause(session, early.id)
        jobs.reopen(session, cancelled.id)
    had = Counter(claimed(database, 30))
    assert had == {early.id: 10, late.id: 10, cancelled.id: 10}


def test_a_worker_stays_with_a_loaded_model_for_some_turns(database: Database) -> None:
    """Loading another takes as long as some chunks; once both are loaded, they take turns."""
    submit(database, "ann", 30, model="one")
    submit(database, "bob", 30, model="two")

    def taken(loaded: list[str], count: int) -> list[str]:
        found = []
        with database.write() as session:
            for _ in range(count):
                lease = leases.claim(session, "worker", models=["one", "two"], loaded=loaded)
                assert lease is not None
                found.append(jobs.get(session, lease.job_id).spec.model)
        return found

    first = taken(["two"], TURNS_OF_A_LOAD + 2)
    assert first.index("one") == TURNS_OF_A_LOAD
    both = taken(["one", "two"], 20)
    assert both[-1] != both[-2]
