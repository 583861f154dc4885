"""From a URL to an engine with patchgrid's transaction and timeout settings."""

import difflib
import importlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from patchgrid.storage.errors import (
    DatabaseMissing,
    DatabaseUnavailable,
    DatabaseURLError,
    FolderMissing,
    NotADatabase,
)

#: Page size of a new SQLite file: blobs are written and read twice as fast as with the default of 4096.
PAGE_SIZE = 16384
#: Execution option: the statement that starts a transaction on SQLite.
_BEGIN = "patchgrid_begin"
#: Execution option: start a transaction on SQLite at once or fail.
_AT_ONCE = "patchgrid_at_once"
#: Timeouts of a silent PostgreSQL server: seconds when connecting and between statements, milliseconds for
#: sent data.
_PATIENCE = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
_PATIENCE |= {"tcp_user_timeout": 60_000}
#: Execution option: PostgreSQL's binary format for numbers and blobs.
_BINARY = "patchgrid_binary"
#: Idle seconds after which a PostgreSQL connection is tested before use.
_TRUSTED = 5.0
_EXAMPLES = "write sqlite:///patchgrid.db, or postgresql+psycopg://user:password@host/name"


def read_url(text: str) -> URL:
    """Read a database URL, or raise `DatabaseURLError`."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise DatabaseURLError(f"cannot read the database URL {text!r}: {_EXAMPLES}") from None
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        return _checked_sqlite_url(url, text)
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        _check_driver()
        _check_options(url)
        return url.set(drivername="postgresql+psycopg")
    raise DatabaseURLError(f"database kind {url.drivername!r} is not supported: {_EXAMPLES}")


def _check_options(url: URL) -> None:
    """Refuse options that libpq does not know."""
    from psycopg.pq import Conninfo

    port = url.query.get("port", url.port)
    if port is not None and not (str(port).isdecimal() and 0 < int(str(port)) < 2**16):
        raise DatabaseURLError(f"port {port!r} in the database URL is out of range (1 to 65535)")
    available = sorted(option.keyword.decode() for option in Conninfo.get_defaults())
    for name, value in url.query.items():
        if name not in available:
            near = difflib.get_close_matches(name, available, 1)
            hint = f": did you mean {near[0]!r}?" if near else f"; available: {', '.join(available)}"
            raise DatabaseURLError(f"unknown connection option {name!r} in the database URL{hint}")
        if not isinstance(value, str):
            raise DatabaseURLError(f"the database URL gives the option {name!r} more than once")


def _check_driver() -> None:
    try:
        importlib.import_module("psycopg")
    except ImportError as error:  # also raised by psycopg itself, where libpq is missing
        reason = str(error).strip().splitlines()[0]
        raise DatabaseURLError(
            f"PostgreSQL needs the package psycopg: pip install 'patchgrid[postgres]' ({reason})"
        ) from error


def _checked_sqlite_url(url: URL, text: str) -> URL:
    if url.host or url.username or url.password or url.port:
        raise DatabaseURLError(
            f"{text!r} has a host, but a file has none: {_EXAMPLES} (an absolute path has four slashes)"
        )
    if url.query:
        raise DatabaseURLError(f"options behind the file's name in {text!r} are not supported: {_EXAMPLES}")
    if not url.database or url.database == ":memory:":
        raise DatabaseURLError(
            f"{text!r} has no file, and an in-memory database keeps no results: {_EXAMPLES}"
        )
    return url.set(drivername="sqlite")


def label(url: URL) -> str:
    """Name the database in a message: the file, or the URL without its password and options."""
    return str(url.database) if is_sqlite(url) else url.set(query={}).render_as_string(hide_password=True)


def is_sqlite(url: URL) -> bool:
    """Return whether the URL is for a file."""
    return url.drivername == "sqlite"


def check_file(url: URL, *, create: bool) -> bool:
    """Raise unless the file exists or can be created; return whether this created it, empty."""
    path = Path(str(url.database))
    if path.is_dir():
        raise NotADatabase(f"database {path}: is a folder; give the path of a file")
    if path.exists():
        return False
    if not path.parent.is_dir():
        raise FolderMissing(
            f"database {path}: folder {path.parent} does not exist: create it, or give another path with --db"
        )
    if not create:
        raise DatabaseMissing(
            f"database {path} does not exist: give another path with --db, or create one with "
            "`patchgrid run` or `patchgrid submit`"
        )
    return _make_private(path)


def drop_empty(url: URL) -> None:
    """Remove an empty file, after the disk was too full for a database.

    One that another process writes to has a write-ahead log, or more than its first page, and stays.
    """
    path = Path(str(url.database))
    log, shared = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    if _size(path) <= PAGE_SIZE and not _size(log):
        for each in (path, log, shared):
            each.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _make_private(path: Path) -> bool:
    """Create an empty file that only its user may read: it will contain prompts and token hashes.

    SQLite's files beside it get the same permissions.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False  # another process was faster
    except OSError as error:
        raise DatabaseUnavailable(
            f"cannot create database {path}: {error.strerror}; check the permissions of its folder"
        ) from error
    return True


def may_write(file: Path) -> bool:
    """Return whether this user may write a file and SQLite's write-ahead log beside it."""
    return not file.exists() or all(map(_may_write, (file, file.absolute().parent)))


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def read_only_uri(file: Path) -> str:
    """Return the URI with which SQLite opens a file read-only.

    Readers share memory with writers, in a file that SQLite would make beside the database. Where it cannot,
    and no writer has, nobody writes: the file is read as one that does not change.
    """
    shared = [file.with_name(file.name + end) for end in ("-wal", "-shm")]
    alone = not may_write(file) and not all(each.exists() for each in shared)
    return f"file:{quote(str(file.absolute()))}?{'immutable=1' if alone else 'mode=ro'}"


def file_id(url: URL) -> tuple[int, int] | None:
    """Return the identity of the file at a path; None if there is none."""
    if not is_sqlite(url):
        return None
    try:
        found = Path(str(url.database)).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def make_engine(url: URL, *, timeout: float, connections: int | None = None) -> Engine:
    """Make an engine with a bounded number of connections and a lock timeout of `timeout` seconds."""
    pool: dict[str, Any] = {"pool_timeout": timeout}
    if connections is not None:
        pool |= {"pool_size": connections, "max_overflow": 0}
    if not is_sqlite(url):
        # Otherwise the server would keep the locks of a vanished client for hours.
        settings = {"lock_timeout": round(timeout * 1000), "tcp_keepalives_idle": 30}
        settings |= {"tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
        arguments = {"options": " ".join(f"-c {name}={value}" for name, value in settings.items())}
        engine = create_engine(url, connect_args=arguments | _PATIENCE, **pool)
        event.listen(engine, "checkin", _note_time)
        event.listen(engine, "checkout", _check_idle)
        event.listen(engine, "before_cursor_execute", _fetch_binary)
        return engine
    file = Path(str(url.database))

    def connect() -> sqlite3.Connection:
        # Asked each time: whether a file may be written can change while it is open.
        name = str(file) if may_write(file) else read_only_uri(file)
        options: dict[str, Any] = {"timeout": timeout, "check_same_thread": False}
        connection: sqlite3.Connection = sqlite3.connect(name, uri=name.startswith("file:"), **options)
        return connection

    engine = create_engine(url, creator=connect, **pool)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def for_writing(engine: Engine) -> Engine:
    """Return the same engine with writing transactions."""
    if engine.dialect.name != "sqlite":
        return engine.execution_options(**{_BINARY: True})
    # A transaction that reads first and then writes fails at once, whatever the timeout, if another has
    # written in between: so it takes the lock before it reads.
    return engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})


def without_waiting(engine: Engine) -> Engine:
    """Return the same engine with transactions that fail at once if SQLite's lock is held."""
    return engine.execution_options(**{_AT_ONCE: True})


def for_reading(engine: Engine) -> Engine:
    """Return the same engine with read-only snapshot transactions."""
    if engine.dialect.name == "sqlite":
        return engine
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True, _BINARY: True}
    return engine.execution_options(**options)


def prepare_file(engine: Engine, *, timeout: float) -> None:
    """Switch a new SQLite file to WAL mode, permanently."""
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        deadline = time.monotonic() + timeout
        while True:
            try:
                driver.execute("PRAGMA journal_mode = WAL").fetchall()
            except sqlite3.OperationalError:
                # Changing the mode does not wait for another process's lock, whatever the busy timeout.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver begins transactions by itself, and not before reads: `_begin_sqlite` does it instead.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    # With WAL, a process that dies loses nothing it had committed. A machine that loses power may lose its
    # last commits, never a part of one: those chunks are then computed again.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -32768")
    connection.execute("PRAGMA journal_size_limit = 67108864")


def _begin_sqlite(connection: Connection) -> None:
    options: Any = connection.get_execution_options()
    begin = options.get(_BEGIN, "BEGIN")
    if not options.get(_AT_ONCE):
        connection.exec_driver_sql(begin)
        return
    patience = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
    connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    try:
        connection.exec_driver_sql(begin)
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience}")


def _note_time(_: object, record: ConnectionPoolEntry) -> None:
    record.info["used"] = time.monotonic()


def _check_idle(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
    """Test a connection that was idle for a while: its server may have been restarted."""
    used = record.info.get("used")
    if used is None or time.monotonic() - used < _TRUSTED:
        return
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except Exception as error:
        # SQLAlchemy then makes another connection.
        raise DisconnectionError from error


def _fetch_binary(connection: Connection, cursor: Any, *_: object) -> None:
    if connection.get_execution_options().get(_BINARY):
        cursor.format = 1
