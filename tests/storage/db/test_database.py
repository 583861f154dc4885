"""Opening a database, and what is said when it cannot be used."""

import dataclasses
import os
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Engine, event, text

from patchgrid.storage import Database, StorageError, errors
from patchgrid.storage.db.translate import translate
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.output.sql import query_readonly
from patchgrid.storage.queue import leases
from patchgrid.storage.results import components
from support.storage.chunk_results import chunk_result
from support.storage.storage_backends import all_jobs, run_job, submit_job


def open_error(url: str, *, create: bool = True, timeout: float = 0.1) -> StorageError:
    """Return the error of opening, which must be one line."""
    with pytest.raises(StorageError) as caught:
        Database.open(url, create=create, timeout=timeout)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_new_database_is_ready_and_opens_again(url: str) -> None:
    """What was written is there the next time."""
    with Database.open(url) as database:
        job = submit_job(database)
    with Database.open(url, create=False) as database, database.read() as session:
        assert jobs.get(session, job.id) == job


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    """As a new one does."""
    path = tmp_path / "empty.db"
    path.touch()
    with Database.open(f"sqlite:///{path}") as database, database.read() as session:
        assert all_jobs(session) == []


def test_sqlite_is_set_up_for_readers_beside_a_writer(tmp_path: Path) -> None:
    """WAL, foreign keys, a page that suits blobs."""
    with Database.open(f"sqlite:///{tmp_path}/a.db") as database, database.read() as session:
        wanted = {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "page_size": 16384}
        assert {name: session.scalar(text(f"PRAGMA {name}")) for name in wanted} == wanted


def test_a_missing_database_is_not_made_when_only_read(tmp_path: Path) -> None:
    """No empty file is left behind either."""
    error = open_error(f"sqlite:///{tmp_path}/no.db", create=False)
    assert isinstance(error, errors.DatabaseMissing)
    assert "no.db" in str(error)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_missing_when_only_read(tmp_path: Path) -> None:
    """It holds nothing to read."""
    (tmp_path / "empty.db").touch()
    assert isinstance(open_error(f"sqlite:///{tmp_path}/empty.db", create=False), errors.DatabaseMissing)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """It is not made."""
    error = open_error(f"sqlite:///{tmp_path}/no/such/a.db")
    assert isinstance(error, errors.DatabaseMissing)
    assert f"folder {tmp_path}/no/such does not exist" in str(error)


def test_a_folder_is_not_a_database(tmp_path: Path) -> None:
    """A file in it would be."""
    assert "folder" in str(open_error(f"sqlite:///{tmp_path}"))


def test_a_folder_that_takes_no_files_is_reported() -> None:
    """One that even root cannot write to."""
    error = open_error("sqlite:////proc/a.db")
    assert isinstance(error, errors.DatabaseUnavailable)
    assert "permissions" in str(error)


def test_a_file_of_another_kind_is_not_a_database(tmp_path: Path) -> None:
    """It is left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be mistaken for one\n" * 40)
    before = path.read_bytes()
    error = open_error(f"sqlite:///{path}")
    assert isinstance(error, errors.NotADatabase)
    assert "notes.txt" in str(error)
    assert path.read_bytes() == before


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """Its tables are not ours."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    other.close()
    error = open_error(f"sqlite:///{path}")
    assert isinstance(error, errors.NotADatabase)
    assert "songs" in str(error)


def test_a_damaged_file_is_reported(sqlite: Path) -> None:
    """Pages overwritten behind the header."""
    data = bytearray(sqlite.read_bytes())
    data[16384:] = b"\x00\xff" * ((len(data) - 16384) // 2)
    sqlite.write_bytes(data)
    error = open_error(f"sqlite:///{sqlite}")
    assert isinstance(error, errors.CorruptData)
    assert "damaged" in str(error)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("patchgrid.db", "cannot read the database URL"),
        ("mysql://host/name", "'mysql' is not supported"),
        ("postgresql+asyncpg://host/name", "'postgresql+asyncpg' is not supported"),
        ("sqlite://patchgrid.db", "has a host"),
        ("sqlite://", "has no file"),
        ("sqlite:///:memory:", "has no file"),
        ("sqlite:///a.db?mode=ro", "options behind the file's name"),
    ],
)
def test_a_wrong_url_is_explained(url: str, said: str) -> None:
    """Each with the right way to write one."""
    error = open_error(url)
    assert isinstance(error, errors.DatabaseURLError)
    assert said in str(error)
    assert "sqlite:///patchgrid.db" in str(error)


def test_a_writer_that_waits_too_long_is_told(sqlite: Path) -> None:
    """Another holds the lock; afterwards writing works again."""
    url = f"sqlite:///{sqlite}"
    with Database.open(url) as holder, Database.open(url, timeout=0.1) as database:
        with holder.write() as session:
            leases.claim(session, "worker")
            with pytest.raises(errors.DatabaseLocked, match="locked by another process"):
                submit_job(database)
        submit_job(database)


def test_a_new_file_locked_by_another_process_is_reported(tmp_path: Path) -> None:
    """Already while it is made ready."""
    path = tmp_path / "a.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert isinstance(open_error(f"sqlite:///{path}"), errors.DatabaseLocked)
    other.close()


def test_a_writer_that_does_not_wait_is_told_at_once(database: Database, backend: str) -> None:
    """On SQLite, which has one lock for all; those that come after it wait again."""
    with database.write() as session, ThreadPoolExecutor(1) as other:
        session.execute(text("SELECT 1"))
        began = time.monotonic()
        try:
            with database.write(wait=False) as hasty:
                hasty.execute(text("SELECT 1"))
        except errors.DatabaseLocked:
            assert backend == "sqlite"
        else:
            assert backend == "postgresql"
        assert time.monotonic() - began < 5
        waiting = other.submit(submit_job, database)
        if backend == "sqlite":
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
        session.rollback()
        assert waiting.result(20).pairs == 10
    with database.write(wait=False) as session:
        assert jobs.get(session, 1).pairs == 10


def test_a_process_has_so_many_connections_at_most(url: str) -> None:
    """One more waits for one of them to be free, and is told when none is in time."""
    with Database.open(url, connections=2, timeout=0.5) as database:
        with database.read() as one, database.read() as two:
            for session in (one, two):
                session.execute(text("SELECT 1"))
            began = time.monotonic()
            with pytest.raises(errors.DatabaseUnavailable, match="connection pool exhausted"):
                submit_job(database)
            assert 0.4 < time.monotonic() - began < 10
        assert submit_job(database).pairs == 10


def test_readers_are_not_blocked_by_a_writer(url: str) -> None:
    """They see what was there before it began, throughout."""
    with Database.open(url) as writer, Database.open(url, timeout=0.1) as reader:
        job = submit_job(writer)
        with writer.write() as session:
            leases.claim(session, "worker")
            with reader.read() as other:
                assert jobs.get(other, job.id).state == "pending"
        with reader.read() as other:
            assert jobs.get(other, job.id).state == "running"


def test_a_reader_sees_one_state_throughout(url: str) -> None:
    """Whatever is committed meanwhile."""
    with Database.open(url) as writer, Database.open(url) as reader:
        job = submit_job(writer)
        with reader.read() as session:
            before = job_progress(session, job.id)
            run_job(writer, job)
            assert job_progress(session, job.id) == before


def test_an_error_in_a_write_rolls_everything_back(database: Database) -> None:
    """A job that was half submitted is not there."""

    def submit_and_stumble() -> None:
        with database.write() as session:
            jobs.submit(session, submit.spec, [], key="other", count=0)

    submit = submit_job(database)
    with pytest.raises(errors.PairsRefused):
        submit_and_stumble()
    with database.read() as session:
        assert [job.id for job in all_jobs(session)] == [submit.id]


def test_a_full_disk_is_reported_and_loses_nothing(sqlite: Path) -> None:
    """The chunk that did not fit is written when there is room again."""
    with Database.open(f"sqlite:///{sqlite}") as database:
        job = submit_job(database, 8)
        with database.write() as session:
            lease = leases.claim(session, "worker")
        assert lease is not None
        result = chunk_result(job, lease)
        long = [dataclasses.replace(outcome, tokens=("x" * 100_000,)) for outcome in result.outcomes]
        result = dataclasses.replace(result, outcomes=long)

        def finish(pages: int) -> None:
            with database.write() as session:
                # SQLite takes a limit below the file's size to mean that size.
                session.execute(text(f"PRAGMA max_page_count = {pages}"))
                assert leases.finish(session, lease, result)

        with pytest.raises(errors.DatabaseFull, match="the disk is full"):
            finish(pages=1)
        with database.read() as session:
            assert job_progress(session, job.id).done == 0
        finish(pages=1_000_000)
        with database.read() as session:
            assert job_progress(session, job.id).done == 4
        assert run_job(database, job).state == "done"


def test_a_file_that_the_disk_is_too_full_to_make_is_removed(tmp_path: Path) -> None:
    """Or the next command would find one that is empty."""

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    event.listen(Engine, "connect", limit)
    try:
        with pytest.raises(errors.DatabaseFull, match="the disk is full"):
            Database.open(f"sqlite:///{tmp_path}/a.db")
    finally:
        event.remove(Engine, "connect", limit)
    assert list(tmp_path.iterdir()) == []
    Database.open(f"sqlite:///{tmp_path}/a.db").close()


def sqlite_error(code: int) -> sqlite3.OperationalError:
    """Return an error of the driver."""
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code
    return error


def test_no_room_for_shared_memory_is_a_full_disk() -> None:
    """SQLite calls it a failure to read or write."""
    ours = translate(sqlite_error(sqlite3.SQLITE_IOERR_SHMSIZE), "a.db")
    assert isinstance(ours, errors.DatabaseFull)


def test_a_full_disk_of_temporary_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of the database, where somebody would look for what to delete."""
    folders = {name: tmp_path / name for name in ("temporary", "data")}
    for folder in folders.values():
        folder.mkdir()
    free = {folders["temporary"]: 0, folders["data"]: 2**30}
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free[Path(path)]))
    monkeypatch.delenv("SQLITE_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(folders["temporary"]))
    full, label = sqlite_error(sqlite3.SQLITE_FULL), str(folders["data"] / "a.db")
    assert f"temporary files ({folders['temporary']}) is full" in str(translate(full, label))
    free[folders["data"]] = 0
    assert f"database {label}: the disk is full" in str(translate(full, label))


#: Somebody who owns no file; root may write whatever it likes.
NOBODY = 65534


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may read."""
    with tempfile.TemporaryDirectory(prefix="patchgrid-shared-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        Path(folder).chmod(0o755)


@contextmanager
def as_a_reader(file: Path) -> Iterator[None]:
    """Be somebody who may read a file and its folder, and write neither."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
        return
    for path, mode in ((file, 0o444), (file.parent, 0o555)):
        path.chmod(mode)
    try:
        yield
    finally:
        for path, mode in ((file, 0o644), (file.parent, 0o755)):
            path.chmod(mode)


def test_a_file_that_may_only_be_read_in_a_folder_that_may_only_be_read(shared: Path) -> None:
    """It is asked as any other, by SQL too; nothing is made beside it, and what would write is refused."""
    url = f"sqlite:///{shared}/a.db"
    with Database.open(url) as database:
        job = run_job(database, submit_job(database, 6))
        with database.read() as session:
            rows = components.components(session, job)
    (shared / "a.db").chmod(0o644)
    with as_a_reader(shared / "a.db"), Database.open(url, create=False) as database:
        with database.read() as session:
            assert components.components(session, jobs.get(session, job.id)) == rows
        assert list(query_readonly(database, "SELECT state FROM job")[1]) == [("done",)]
        with pytest.raises(errors.DatabaseUnavailable, match="no write permission"):
            submit_job(database, 3)
        assert [path.name for path in shared.iterdir()] == ["a.db"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the writer and the reader have to be two users")
def test_a_reader_without_rights_sees_what_a_writer_has_just_committed(shared: Path) -> None:
    """By the files that the writer keeps beside it."""
    url = f"sqlite:///{shared}/a.db"
    Database.open(url).close()
    (shared / "a.db").chmod(0o644)
    with Database.open(url) as writer:
        job = submit_job(writer, 3)
        with as_a_reader(shared / "a.db"), Database.open(url, create=False) as reader:
            with reader.read() as session:
                assert jobs.get(session, job.id) == job
            assert list(query_readonly(reader, "SELECT id FROM job")[1]) == [(job.id,)]
        assert run_job(writer, job).state == "done"


def test_a_new_file_is_its_users_alone(tmp_path: Path) -> None:
    """And what SQLite makes beside it; one that was there keeps its permissions."""

    def modes() -> dict[str, int]:
        return {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    before = os.umask(0o022)
    try:
        with Database.open(f"sqlite:///{tmp_path}/a.db") as database:
            submit_job(database, 3)
            assert modes() == dict.fromkeys(("a.db", "a.db-wal", "a.db-shm"), 0o600)
        (tmp_path / "a.db").chmod(0o640)
        with Database.open(f"sqlite:///{tmp_path}/a.db") as database:
            submit_job(database, 4)
            assert modes() == dict.fromkeys(("a.db", "a.db-wal", "a.db-shm"), 0o640)
    finally:
        os.umask(before)
