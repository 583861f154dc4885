"""Jobs that come through the HTTP service: whose they are, how many, and submits that are repeated."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.core.types import Pair
from patchgrid.pairs import PairFile
from patchgrid.storage import Database, checking, errors, tables
from patchgrid.storage.access import ownership, submitting, tokens
from patchgrid.storage.access.submitting import Order, Stored, Submitter, store
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.queue import control
from support.storage.chunk_results import make_pairs, make_spec
from support.storage.pair_files import jsonl, write
from support.storage.storage_backends import run_job, submit_job


@pytest.fixture
def make_order(tmp_path: Path) -> Iterator[Callable[..., Order]]:
    """Return orders for a number of pairs: equal numbers are the same job."""
    opened = []

    def make(count: int = 5, own_key: str | None = None, **spec: object) -> Order:
        pairs = [
            {"clean": pair.clean, "corrupted": pair.corrupted, "correct": " a", "incorrect": " b"}
            for pair in make_pairs(count)
        ]
        file = PairFile.open(write(tmp_path, jsonl(*pairs), f"{len(opened)}.jsonl"))
        opened.append(file)
        return Order(make_spec(**spec), file, file.check(), own_key=own_key, chunk_size=4)

    yield make
    for file in opened:
        file.close()


def token(database: Database, name: str = "ci") -> int:
    """Make a token and give its id."""
    with database.write() as session:
        return tokens.create(session, name, ["submit"])[0].id


def owners(database: Database, job: JobRecord) -> list[str]:
    """Return a job's owners."""
    with database.read() as session:
        return ownership.owners_of(session, job.id)


def job_count(database: Database) -> int:
    """Count the jobs, and check that nothing lies about of others."""
    with database.read() as session:
        ids = set(session.scalars(select(tables.job.c.id)))
        for table in (tables.pair, tables.chunk, tables.submission, tables.idempotency):
            assert set(session.scalars(select(table.c.job_id))) <= ids, table.name
    return len(ids)


def at_once(count: int, do: Callable[[int], object]) -> list[object]:
    """Do something in threads that begin together; give what each gives, or the kind of error."""
    barrier = Barrier(count)

    def one(number: int) -> object:
        barrier.wait()
        try:
            return do(number)
        except errors.StorageError as error:
            return type(error)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_a_job_of_nobodys_is_stored_as_it_ever_was(
    database: Database, make_order: Callable[..., Order]
) -> None:
    """Once, and with no word of who submitted it."""
    job, created, _ = store(database, make_order())
    assert created
    assert store(database, make_order()) == (job, False, False)
    with database.read() as session:
        assert jobs.get(session, job.id) == job
        assert session.scalar(select(func.count()).select_from(tables.submission)) == 0
        assert ownership.owner_names(session, [job.id]) == {}
    assert owners(database, job) == []


def test_whoever_submits_a_job_is_an_owner_of_it(
    database: Database, make_order: Callable[..., Order]
) -> None:
    """The first one first; a revoked token's claims hold."""
    mine, other = token(database, "mine"), token(database, "other")
    job, created, _ = store(database, make_order(), by=Submitter(mine))
    assert created
    assert store(database, make_order(), by=Submitter(mine)) == (job, False, False)
    assert owners(database, job) == [f"token {mine}"]
    assert store(database, make_order(), by=Submitter(other, "key")) == (job, False, False)
    assert store(database, make_order(), by=Submitter(None)) == (job, False, False)
    assert store(database, make_order(), by=Submitter(user="alice")) == (job, False, False)
    assert owners(database, job) == [f"token {mine}", f"token {other}", "open", "user alice"]
    nobodys = store(database, make_order(6)).job
    assert store(database, make_order(6), by=Submitter(mine, "its key")) == (nobodys, False, False)
    opened = store(database, make_order(8), by=Submitter(None)).job
    with database.write() as session:
        tokens.revoke(session, "mine")
    with database.read() as session:
        names = ownership.owner_names(session, [job.id, nobodys.id, opened.id, 99])
        assert names == {job.id: ("mine", "other", "alice"), nobodys.id: ("mine",)}
        assert ownership.owner_names(session, []) == {}


@pytest.mark.parametrize("known", [True, False], ids=["a token's", "nobody's"])
def test_a_repeated_submit_gives_the_same_job(
    database: Database, make_order: Callable[..., Order], known: bool
) -> None:
    """The key given to another job is refused, and nothing of that is stored."""
    by = Submitter(token(database) if known else None, "monday")
    job, created, _ = store(database, make_order(), by=by)
    assert created
    assert store(database, make_order(), by=by) == (job, False, False)
    for other in (make_order(6), make_order(seed=1)):
        with pytest.raises(errors.IdempotencyKeyReused, match=f"'monday' was used for job {job.id}"):
            store(database, other, by=by)
    assert job_count(database) == 1
    assert store(database, make_order(6), by=Submitter(by.token_id, "tuesday"))[1]
    assert store(database, make_order(7), by=Submitter(by.token_id))[1]
    with pytest.raises(errors.IdempotencyKeyReused):
        store(database, make_order(7), by=by)


def test_a_job_that_is_deleted_as_it_is_found_is_stored_anew(
    database: Database, make_order: Callable[..., Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither given as it was, nor an error."""
    by = Submitter(token(database), "key")
    first = store(database, make_order()).job
    plain = submitting.idempotency.is_repeated

    def delete_meanwhile(session: Session, by: Submitter) -> bool:
        monkeypatch.undo()
        noted = plain(session, by)
        with database.write() as other:
            jobs.delete(other, first.id)
        return noted

    monkeypatch.setattr(submitting.idempotency, "is_repeated", delete_meanwhile)
    job, created, _ = store(database, make_order(), by=by)
    assert (job.id > first.id, created) == (True, True)
    assert store(database, make_order(), by=by) == (job, False, False)


def test_each_token_has_keys_of_its_own(database: Database, make_order: Callable[..., Order]) -> None:
    """And so have those who came while the service was open."""
    for count, by in enumerate((token(database, "one"), token(database, "two"), None), start=5):
        assert store(database, make_order(count), by=Submitter(by, "key"))[1]
        with pytest.raises(errors.IdempotencyKeyReused):
            store(database, make_order(9), by=Submitter(by, "key"))


def test_a_key_given_to_a_job_that_was_there_is_remembered(
    database: Database, make_order: Callable[..., Order]
) -> None:
    """It stands for that job from then on."""
    by = Submitter(token(database), "key")
    job = store(database, make_order()).job
    assert store(database, make_order(), by=by) == (job, False, False)
    with pytest.raises(errors.IdempotencyKeyReused):
        store(database, make_order(6), by=by)
    assert job_count(database) == 1


def test_a_submit_that_was_refused_takes_no_key(database: Database, make_order: Callable[..., Order]) -> None:
    """The user's own key for the job was another job's."""
    by = Submitter(token(database), "key")
    store(database, make_order(5, "own"))
    with pytest.raises(errors.KeyTaken):
        store(database, make_order(6, "own"), by=by)
    assert store(database, make_order(6), by=by)[1]


@pytest.mark.parametrize("key", ["x" * 10_000, "é\0\ud800'%", ""], ids=["long", "odd", "empty"])
def test_any_text_is_a_key(database: Database, make_order: Callable[..., Order], key: str) -> None:
    """A client makes them up."""
    by = Submitter(token(database), key)
    job = store(database, make_order(), by=by).job
    assert store(database, make_order(), by=by) == (job, False, False)
    with pytest.raises(errors.IdempotencyKeyReused):
        store(database, make_order(6), by=by)


def test_no_key_is_another_jobs_hash(database: Database, make_order: Callable[..., Order]) -> None:
    """Who submitted that job later would be given this one, with other pairs, for their own."""
    theirs = make_order(6)
    with pytest.raises(errors.KeyTaken, match="choose another key"):
        store(database, make_order(5, own_key=theirs.key))
    made, created, _ = store(database, theirs)
    assert created
    assert store(database, make_order(6, own_key=theirs.key)) == (made, False, False)


def test_a_deleted_job_frees_its_key(database: Database, make_order: Callable[..., Order]) -> None:
    """And leaves no word of whose it was."""
    by = Submitter(token(database), "key", most_open=1)
    job = store(database, make_order(), by=by).job
    with database.write() as session:
        jobs.delete(session, job.id)
    assert job_count(database) == 0
    again, created, _ = store(database, make_order(6), by=by)
    assert created
    assert again.id > job.id


@pytest.mark.parametrize("known", [True, False], ids=["a token's", "nobody's"])
def test_a_token_has_so_many_open_jobs(
    database: Database, make_order: Callable[..., Order], known: bool
) -> None:
    """Those pending, running and paused, joined ones too; ended ones make room."""
    by = Submitter(token(database) if known else None, most_open=2)
    submit_job(database)
    store(database, make_order(3), by=Submitter(token(database, "other")))
    first, second = (store(database, make_order(count), by=by)[0] for count in (5, 6))
    with database.write() as session:
        control.pause(session, second.id)
    with pytest.raises(errors.TooManyOpenJobs, match="you have 2 open jobs"):
        store(database, make_order(7), by=by)
    assert job_count(database) == 4
    assert store(database, make_order(5), by=by) == (first, False, False)
    run_job(database, first)
    assert store(database, make_order(3), by=by).created is False
    with pytest.raises(errors.TooManyOpenJobs, match="you have 2 open jobs"):
        store(database, make_order(7), by=by)
    run_job(database, store(database, make_order(3), by=by).job)
    third, created, _ = store(database, make_order(7), by=by)
    assert created
    with pytest.raises(errors.TooManyOpenJobs):
        store(database, make_order(8), by=by)
    with database.write() as session:
        control.cancel(session, third.id)
    assert store(database, make_order(8), by=by)[1]
    assert store(database, make_order(9), by=Submitter(by.token_id))[1]
    with pytest.raises(errors.TooManyOpenJobs):
        store(database, make_order(10), by=Submitter(by.token_id, most_open=0))


@pytest.mark.parametrize("keys", ["same", "others", "none"])
def test_submits_of_one_job_at_once_give_one_job(
    database: Database, url: str, make_order: Callable[..., Order], keys: str
) -> None:
    """And no error, though the token may have one job only."""
    mine, orders = token(database), [make_order(200) for _ in range(6)]
    others = [f"key {number}" for number in range(6)]
    named = {"same": ["key"] * 6, "others": others, "none": [None] * 6}[keys]
    found = at_once(
        6, lambda number: store(database, orders[number], by=Submitter(mine, named[number], most_open=1))
    )
    assert {type(each) for each in found} == {Stored}, found
    assert len({stored.job.id for stored in found}) == 1  # type: ignore[attr-defined]
    assert sorted(stored.created for stored in found) == [False] * 5 + [True]  # type: ignore[attr-defined]
    assert job_count(database) == 1
    with database.read() as session:
        noted = session.scalar(select(func.count()).select_from(tables.idempotency))
    assert noted == {"same": 1, "others": 6, "none": 0}[keys]
    assert checking.check(url).problems == ()


def store_together(database: Database, backend: str, orders: list[Order], by: Submitter) -> list[object]:
    """Store orders in threads; where several can write at a time, none ends before all have begun."""
    begun = Barrier(len(orders))

    def pairs_of(order: Order) -> Iterator[Pair]:
        if backend == "postgresql":
            begun.wait(30)
        yield from order.file

    return at_once(
        len(orders),
        lambda number: store(database, orders[number], pairs=lambda: pairs_of(orders[number]), by=by),
    )


@pytest.mark.parametrize("known", [True, False], ids=["a token's", "nobody's"])
def test_of_other_jobs_under_one_key_at_once_one_is_stored(
    database: Database, backend: str, make_order: Callable[..., Order], known: bool
) -> None:
    """The others are refused, whole, even where all were being written at the same time."""
    by = Submitter(token(database) if known else None, "key")
    orders = [make_order(count) for count in range(5, 9)]
    found = store_together(database, backend, orders, by)
    assert found.count(errors.IdempotencyKeyReused) == 3, found
    assert job_count(database) == 1


@pytest.mark.parametrize("known", [True, False], ids=["a token's", "nobody's"])
def test_jobs_submitted_at_once_are_no_more_than_may_be_open(
    database: Database, backend: str, make_order: Callable[..., Order], known: bool
) -> None:
    """Even where all were being written at the same time, and none saw another."""
    by = Submitter(token(database) if known else None, most_open=2)
    orders = [make_order(count) for count in range(5, 9)]
    found = store_together(database, backend, orders, by)
    assert found.count(errors.TooManyOpenJobs) == 2, found
    assert job_count(database) == 2
