"""A database that is away, full or cut off: what was computed is kept until it takes it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from patchgrid.storage import Database
from patchgrid.storage.errors import CorruptData, DatabaseFull, DatabaseLocked, DatabaseUnavailable
from patchgrid.workers.measuring import db_retry
from patchgrid.workers.measuring.db_retry import Waiting
from support.machines.servers import postgres_server, wait_for
from support.workers.running import (
    Calls,
    chunks,
    registered,
    running,
    state,
    submit_pairs,
    wait_for_state,
    work_off,
)

DONE = ("done", 1, 1)


class Troubled(Database):
    """A database that refuses writes while a test says so, or cuts the connection after a commit."""

    #: What each write raises, or None.
    trouble: Exception | None = None
    #: How many of the next commits land without the client hearing of it.
    cuts = 0
    #: Writes that were refused.
    refused = 0

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session, or raise while the fault lasts."""
        if self.trouble is not None:
            self.refused += 1
            raise self.trouble
        with super().write() as session:
            yield session
        if self.cuts and threading.current_thread().name != "patchgrid-registry":
            self.cuts -= 1
            raise DatabaseUnavailable("the server closed the connection unexpectedly")


@pytest.fixture
def troubled(tmp_path: Path) -> Iterator[Troubled]:
    """Return a database without faults so far."""
    with Troubled.open(f"sqlite:///{tmp_path / 'troubled.db'}") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait in small steps."""
    monkeypatch.setattr(db_retry, "_FIRST", 0.05)
    monkeypatch.setattr(db_retry, "_MOST", 0.2)


@pytest.mark.parametrize(
    "error", [DatabaseFull("full"), DatabaseUnavailable("away"), DatabaseLocked("locked")]
)
def test_a_transaction_is_repeated_until_it_lands(
    troubled: Troubled, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """What is wrong is said once, and that it is over; nothing else is caught."""
    caplog.set_level("INFO")
    troubles: list[str | None] = []
    troubled.trouble = error
    patient = Waiting(troubled, on_wait=troubles.append)
    threading.Timer(0.5, lambda: setattr(troubled, "trouble", None)).start()
    assert patient.write(lambda _session: 7) == 7
    assert troubled.refused >= 3
    assert troubles == [str(error)] * troubled.refused + [None]
    assert caplog.text.count("retrying") == 1
    assert caplog.text.count("is available again") == 1
    troubled.trouble = CorruptData("damaged")
    with pytest.raises(CorruptData):
        patient.write(lambda _session: 7)


def test_patience_ends_when_it_is_over_or_after_so_many_seconds(troubled: Troubled) -> None:
    """The database's own error is raised."""
    troubled.trouble = DatabaseFull("full")
    began = time.monotonic()
    with pytest.raises(DatabaseFull):
        Waiting(troubled, seconds=0).write(lambda _session: 7)
    with pytest.raises(DatabaseFull):
        Waiting(troubled, over=lambda: True).write(lambda _session: 7)
    with pytest.raises(DatabaseFull):
        Waiting(troubled, seconds=0.3).write(lambda _session: 7)
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("error", [DatabaseFull("the disk is full"), DatabaseUnavailable("no server")])
def test_a_computed_chunk_is_kept_until_the_database_takes_it(troubled: Troubled, error: Exception) -> None:
    """The next is measured meanwhile, no more; each once, at one attempt, and the job goes on by itself."""
    job = submit_pairs(troubled, 12)
    calls = Calls()

    def begin(point: str) -> None:
        if point == "before commit" and not troubled.refused:
            troubled.trouble = error

    with running(troubled, calls, on_point=begin):
        wait_for(lambda: troubled.refused > 5 and len(calls.pairs) == 8)
        assert chunks(troubled, job) == [("leased", 0, 1), ("leased", 1, 1), ("pending", 0, 0)]
        troubled.trouble = None
        wait_for_state(troubled, job, "done")
    assert chunks(troubled, job) == [DONE] * 3
    assert len(calls.pairs) == 12


def test_a_worker_says_that_it_waits(database: Database, tmp_path: Path) -> None:
    """Where the registry can be written though the results cannot."""
    job = submit_pairs(database, 4)
    with Troubled.open(database.url) as troubled:
        worker_writes = troubled.write
        full = threading.Event()

        @contextmanager
        def write() -> Iterator[Session]:
            if full.is_set() and threading.current_thread().name != "patchgrid-registry":
                raise DatabaseFull("the disk is full")
            with worker_writes() as session:
                yield session

        troubled.write = write  # type: ignore[method-assign]
        with running(troubled, Calls(), on_point=lambda point: point == "before commit" and full.set()):
            wait_for(lambda: [row.state for row in registered(database)] == ["waiting"])
            assert registered(database)[0].message == "the disk is full"
            full.clear()
            wait_for_state(database, job, "done")
            wait_for(lambda: [row.state for row in registered(database)] == ["idle"])


def test_a_connection_that_is_cut_during_a_commit_changes_nothing(troubled: Troubled) -> None:
    """The commit had landed: handing in again finds that out."""
    job = submit_pairs(troubled, 16)
    calls = Calls()

    def cut(point: str) -> None:
        if point == "before commit":
            troubled.cuts = 1

    work_off(troubled, calls, on_point=cut)
    assert chunks(troubled, job) == [DONE] * 4
    assert len(calls.pairs) == 16
    [row] = registered(troubled)
    assert (row.chunks, row.pairs, row.lease_losses) == (4, 16, 0)


def test_a_connection_that_is_cut_during_a_claim_costs_no_attempt(troubled: Troubled) -> None:
    """The claim had landed: its chunk is freed and claimed again, not left until its lease runs out.

    The chunk that was measured and not handed in yet stays this worker's.
    """
    job = submit_pairs(troubled, 16)

    def cut(point: str) -> None:
        if point == "committed":
            troubled.cuts = 1

    assert work_off(troubled, Calls(), on_point=cut) == "idle"
    assert chunks(troubled, job) == [DONE, DONE, ("done", 1, 2), ("done", 1, 2)]


def test_a_worker_that_is_told_to_stop_waits_no_longer_than_the_grace(troubled: Troubled) -> None:
    """Its chunk stays leased: the lease runs out, and another measures it; no attempt counts."""
    job = submit_pairs(troubled, 4)

    def begin(point: str) -> None:
        if point == "before commit":
            troubled.trouble = DatabaseUnavailable("no server")

    with running(troubled, Calls(), on_point=begin, grace=0.3, lease_seconds=1.0) as one:
        wait_for(lambda: troubled.refused > 2)
        one.worker.stop()
        assert one.join(5) == "stopped"
    assert chunks(troubled, job) == [("leased", 0, 1)]
    troubled.trouble = None
    assert work_off(troubled, Calls(), idle_exit=1.5) == "idle"
    assert chunks(troubled, job) == [("done", 1, 2)]
    assert sorted(row.takeovers for row in registered(troubled)) == [1]


def test_an_idle_worker_without_a_database_stops_at_once(troubled: Troubled) -> None:
    """There is nothing to be patient for."""
    with running(troubled, Calls(), grace=60.0) as one:
        wait_for(lambda: [row.state for row in registered(troubled)] == ["idle"])
        submit_pairs(troubled, 4)
        troubled.trouble = DatabaseUnavailable("no server")
        wait_for(lambda: troubled.refused > 2)
        one.worker.stop()
        assert one.join(5) == "stopped"


def test_time_without_a_database_is_not_idle_time(troubled: Troubled) -> None:
    """A worker in a batch job outlives the restart of the server."""
    job = submit_pairs(troubled, 4)
    troubled.trouble = DatabaseUnavailable("no server")
    with running(troubled, Calls(), idle_exit=0.5) as one:
        wait_for(lambda: troubled.refused > 2)
        time.sleep(0.8)
        assert one.runs
        troubled.trouble = None
        assert one.join() == "idle"
    assert state(troubled, job) == "done"


def test_a_worker_outlives_a_crash_of_postgresql() -> None:
    """The server is killed while a chunk is computed, and comes back: one attempt each, none done again."""
    with postgres_server() as server, Database.open(server.url(server.new_database())) as database:
        job = submit_pairs(database, 16)
        calls = Calls()
        down = threading.Event()

        def crash(point: str) -> None:
            if point == "before commit" and not down.is_set():
                time.sleep(1)  # a claim is on the server's disk by then
                server.stop("immediate")
                down.set()

        with running(database, calls, on_point=crash):
            assert down.wait(20)
            time.sleep(0.5)
            server.start()
            wait_for_state(database, job, "done", 30)
        assert chunks(database, job) == [DONE] * 4
        assert len(calls.pairs) == 16


def test_a_claim_that_a_crash_of_postgresql_took_is_made_again() -> None:
    """The server is killed right behind the claim: what was computed may be refused, and done again."""
    with postgres_server() as server, Database.open(server.url(server.new_database())) as database:
        job = submit_pairs(database, 16)
        calls = Calls()
        down = threading.Event()

        def crash(point: str) -> None:
            if point == "claimed" and not down.is_set():
                server.stop("immediate")
                down.set()

        with running(database, calls, on_point=crash):
            assert down.wait(20)
            server.start()
            wait_for_state(database, job, "done", 30)
        assert chunks(database, job) == [DONE] * 4
        assert len(calls.pairs) in (16, 20)
