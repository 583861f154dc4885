"""What is said when a PostgreSQL server is not there, goes away, or fails."""

import sys
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from patchgrid.storage import Database, StorageError, checking, errors, tables
from patchgrid.storage.db import connection
from patchgrid.storage.db.dialects import now
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.output.sql import query_readonly
from patchgrid.storage.queue import control, leases
from patchgrid.storage.results import components
from support.machines.servers import free_port
from support.storage.chunk_results import chunk_result
from support.storage.leasing import claim, finish, nothing_to_claim
from support.storage.storage_backends import PostgresDatabases, run_chunk, run_job, submit_job


@pytest.fixture
def server(postgres: PostgresDatabases) -> Iterator[Database]:
    """An empty database on a server."""
    url = postgres.new_migrated_url()
    with Database.open(url) as database:
        yield database
    postgres.drop(url)


def cut(postgres: PostgresDatabases, session: Session) -> None:
    """End the session's connection, as a server that stops does."""
    postgres.execute(f"SELECT pg_terminate_backend({session.scalar(text('SELECT pg_backend_pid()'))})")


def error_of(work: Callable[[], object]) -> StorageError:
    """Return the error of this call, which must be one line."""
    with pytest.raises(StorageError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "no-such-host.invalid"])
def test_a_server_that_is_not_there_is_named(host: str) -> None:
    """With what to check; the password is not repeated."""
    url = f"postgresql://user:secret@{host}:{free_port()}/name?sslpassword=secret"
    error = error_of(lambda: Database.open(url))
    assert isinstance(error, errors.DatabaseUnavailable)
    assert f"user:***@{host}" in str(error)
    assert "check that the server runs" in str(error)
    assert "secret" not in str(error)


def test_a_database_that_does_not_exist_is_named(postgres: PostgresDatabases) -> None:
    """The server is there, and says so."""
    url = postgres.new_url()
    postgres.drop(url)
    error = error_of(lambda: Database.open(url))
    assert isinstance(error, errors.DatabaseUnavailable)
    assert "does not exist" in str(error)


def test_a_connection_cut_within_a_transaction_leaves_nothing_of_it(
    postgres: PostgresDatabases, server: Database
) -> None:
    """Whether the cut shows at the next statement or at the commit; the next transaction connects again."""
    job = submit_job(server)

    def work(*, say_more: bool) -> None:
        with server.write() as session:
            assert leases.claim(session, "worker") is not None
            cut(postgres, session)
            if say_more:
                session.scalar(text("SELECT 1"))

    for say_more in (True, False):
        error = error_of(lambda say_more=say_more: work(say_more=say_more))  # type: ignore[misc]
        assert isinstance(error, errors.DatabaseUnavailable)
        with server.read() as session:
            assert job_progress(session, job.id).chunks_leased == 0
    assert run_job(server, job).state == "done"


def test_idle_connections_that_were_cut_are_replaced(
    postgres: PostgresDatabases, server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody notices a server's restart in a pause."""
    monkeypatch.setattr(connection, "_TRUSTED", 0)
    with server.read() as session:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
    postgres.execute(f"SELECT pg_terminate_backend({pid})")
    assert run_job(server, submit_job(server)).state == "done"


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("53100", errors.DatabaseFull, "the disk is full"),
        ("55P03", errors.DatabaseLocked, "locked by another process"),
        ("40001", errors.DatabaseLocked, "locked by another process"),
        ("57P01", errors.DatabaseUnreachable, "closed the connection"),
        ("57P03", errors.DatabaseUnreachable, "starting, stopping"),
        ("53300", errors.DatabaseUnreachable, "too many connections"),
        ("58030", errors.DatabaseUnavailable, "the server's words"),
        ("25006", errors.DatabaseUnavailable, "no write permission"),
        ("XX001", errors.CorruptData, "damaged"),
    ],
)
def test_what_a_server_fails_of_is_explained(
    server: Database, code: str, kind: type[StorageError], said: str
) -> None:
    """And the transaction that it failed in has written nothing."""
    job = submit_job(server)

    def work() -> None:
        with server.write() as session:
            lease = leases.claim(session, "worker")
            assert lease is not None
            assert leases.finish(session, lease, chunk_result(job, lease))
            failing = f"BEGIN RAISE EXCEPTION 'the server''s words' USING ERRCODE = '{code}'; END"
            session.execute(text(f"DO $$ {failing} $$"))

    error = error_of(work)
    assert type(error) is kind
    assert said in str(error)
    with server.read() as session:
        assert job_progress(session, job.id).left == 10
    assert run_job(server, job).state == "done"


def test_a_row_locked_too_long_is_reported(server: Database, postgres: PostgresDatabases) -> None:
    """After the time that opening was told."""
    job = submit_job(server)
    with Database.open(server.url, timeout=0.1) as other, server.write() as session:
        jobs.delete(session, job.id)
        error = error_of(lambda: submit_job(other))
        assert isinstance(error, errors.DatabaseLocked)
    submit_job(server)


def test_without_its_driver_the_way_to_get_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password is not repeated."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = error_of(lambda: Database.open("postgresql://user:secret@host/name"))
    assert isinstance(error, errors.DatabaseURLError)
    assert "pip install 'patchgrid[postgres]'" in str(error)
    assert "secret" not in str(error)


def test_a_job_whose_last_chunks_were_finished_side_by_side_is_closed(server: Database) -> None:
    """By whoever looks for work next: each of the two had seen the other's chunk unfinished."""
    job = submit_job(server, 12)
    run_chunk(server, job)
    first = claim(server)
    with server.write() as slow:
        # Sees the second chunk wait, and is overtaken before it commits.
        assert leases.finish(slow, first, chunk_result(job, first))
        assert finish(server, job, claim(server))
    with server.read() as session:
        progress, state = job_progress(session, job.id), jobs.get(session, job.id).state
    assert (progress.left, state) == (0, "running")
    assert nothing_to_claim(server, models=["a/model"])
    with server.read() as session:
        assert jobs.get(session, job.id).state == "done"
        assert components.job_sums(session, job, "z", "whole") is not None
    assert checking.check(server.url).problems == ()


def test_commits_of_one_job_do_not_wait_for_each_other(server: Database) -> None:
    """Nor claims for them, as long as chunks wait."""
    job = submit_job(server, 20)
    # The very first chunk writes the provenance that the others refer to.
    run_chunk(server, job)
    one, two = claim(server), claim(server)
    with Database.open(server.url, timeout=0.5) as other, server.write() as slow:
        assert leases.finish(slow, one, chunk_result(job, one))
        assert finish(other, job, two)
        assert finish(other, job, claim(other))
    assert run_job(server, job).state == "done"


def test_extending_leases_waits_for_no_commit(server: Database) -> None:
    """One that is being finished is let be, so that others are extended in time."""
    job = submit_job(server, 12)
    one, two = claim(server), claim(server, seconds=1)
    with Database.open(server.url, timeout=0.5) as other, server.write() as slow:
        assert leases.finish(slow, one, chunk_result(job, one))
        with other.write() as session:
            assert leases.extend(session, one)
            assert leases.extend(session, two)
    with server.write() as session:
        assert not leases.extend(session, one)
        left = session.scalar(
            select(tables.chunk.c.lease_until - now()).where(tables.chunk.c.id == two.chunk_id)
        )
    assert left is not None
    assert left > 30
    assert run_job(server, job).state == "running", "the other chunk is still held"


def test_a_claim_beside_a_measured_chunk_waits_for_no_other(server: Database) -> None:
    """Whatever else is locked: a pause in the middle, or another's commit."""
    job, other = submit_job(server, 8, key="one"), submit_job(server, 8, key="other")
    measured = claim(server, job_id=other.id)
    with Database.open(server.url, timeout=0.5) as here, server.write() as slow:
        control.pause(slow, job.id)
        with here.write() as session:
            assert leases.note_computed(session, measured)
            lease = leases.claim(session, "worker", models=["a/model"])
        assert lease is not None
        assert lease.job_id == other.id
    assert finish(server, other, measured)


def test_blobs_are_stored_as_they_are(server: Database) -> None:
    """Trying to compress them would take longer than all else."""
    with server.read() as session:
        of_blobs = (
            "SELECT attrelid::regclass::text FROM pg_attribute WHERE attname = 'data' AND attstorage = 'e'"
        )
        blobs = {"sums", "scores", "total", "pilot", "mean", "plan", "race"}
        assert set(session.scalars(text(of_blobs))) == blobs


def test_a_server_that_goes_away_during_a_query_is_told_as_such(
    server: Database, postgres: PostgresDatabases
) -> None:
    """Not as a mistake in the query."""
    submit_job(server, 1200, chunk_size=600)
    _, rows = query_readonly(server, "SELECT clean FROM pair")
    next(rows)
    postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{server.engine.url.database}' AND query LIKE 'FETCH%'"
    )
    assert isinstance(error_of(lambda: list(rows)), errors.DatabaseUnavailable)
