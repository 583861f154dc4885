"""Translating the drivers' errors to ours."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from patchgrid.storage import errors
from patchgrid.storage.errors import StorageError

_LOCKED = (
    errors.DatabaseLocked,
    "locked by another process: wait until it has finished, or stop it, and run the command again",
)
_FULL = (
    errors.DatabaseFull,
    "the disk is full: free some space and run the command again; nothing stored is lost",
)
_CORRUPT = (errors.CorruptData, "the file is damaged: run `patchgrid db check`, and restore it from a backup")
_READ_ONLY = (
    errors.DatabaseUnavailable,
    "no write permission: check the permissions of the file and its folder, or of the user",
)
_CANNOT_OPEN = (
    errors.DatabaseUnavailable,
    "cannot be opened: check the permissions of the file and its folder",
)
_NOT_SQLITE = (errors.NotADatabase, "not an SQLite database: give another with --db")
_IO = (errors.DatabaseUnavailable, "the disk failed to read or write it: check the disk and its free space")

#: Primary result codes (the low byte) of SQLite.
_SQLITE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_CORRUPT: _CORRUPT,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _CANNOT_OPEN,
    sqlite3.SQLITE_PERM: _CANNOT_OPEN,
    sqlite3.SQLITE_NOTADB: _NOT_SQLITE,
    sqlite3.SQLITE_IOERR: _IO,
}
#: I/O errors of the shared-memory file that mean a full disk.
_NO_ROOM = (sqlite3.SQLITE_IOERR_SHMSIZE,)
#: Free bytes below which a disk counts as full.
_LEFT = 2**20
#: Messages of SQLite and its driver about damaged texts or table definitions.
_NOT_OURS = ("Could not decode to UTF-8", "no such table", "no such column", "malformed database schema")
_STOPPED = (
    errors.DatabaseUnreachable,
    "the server is starting, stopping, or closed the connection: run the command again when it is up",
)
_BUSY = (
    errors.DatabaseUnreachable,
    "too many connections: raise the server's max_connections, or run fewer processes",
)
_DAMAGED = (
    errors.CorruptData,
    "the server reports damaged files: see its log, and restore it from a backup",
)
#: SQLSTATEs of PostgreSQL.
_POSTGRESQL = {
    "55P03": _LOCKED,  # lock not available
    "40P01": _LOCKED,  # deadlock
    "40001": _LOCKED,  # serialization failure
    "53100": _FULL,
    "25006": _READ_ONLY,  # a standby, or a user who may only read
    "42501": _READ_ONLY,  # insufficient privilege
    "53300": _BUSY,
    "57P01": _STOPPED,  # admin shutdown, or pg_terminate_backend
    "57P02": _STOPPED,  # crash shutdown
    "57P03": _STOPPED,  # cannot connect now
    "57P05": _STOPPED,  # idle session timeout
    "25P03": _STOPPED,  # idle in transaction timeout
    "XX001": _DAMAGED,
    "XX002": _DAMAGED,
}

#: libpq's messages about an invalid option value.
_BAD_OPTION = re.compile(r"invalid (\S+ value|integer value|port number|connection option|value for)")


@contextmanager
def translated(label: str) -> Iterator[None]:
    """Raise drivers' errors as `StorageError`s that call the database `label`.

    Errors that can only be our own bugs (a wrong statement, a broken constraint) pass unchanged.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        ours = translate(error, label)
        if ours is None:
            raise
        raise ours from error
    except NoConnectionError as error:
        raise errors.DatabaseUnavailable(
            f"database {label}: connection pool exhausted: try again later"
        ) from error


def translate(error: Exception, label: str) -> StorageError | None:
    """Return our error for a driver's error, or None."""
    original = error.orig if isinstance(error, DBAPIError) else error
    translation: tuple[type[StorageError], str] | None = None
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", 0)
        translation = _FULL if code in _NO_ROOM else _SQLITE.get(code & 0xFF)
        if translation is None and str(original).startswith(_NOT_OURS):
            translation = _CORRUPT
    elif (state := getattr(original, "sqlstate", None)) is not None:
        translation = _POSTGRESQL.get(state)
    if translation is _FULL and isinstance(original, sqlite3.Error) and (folder := _full_temporary(label)):
        return errors.DatabaseFull(
            f"the disk of temporary files ({folder}) is full: free some space, or name another folder by "
            f"SQLITE_TMPDIR, and run the command again; nothing stored in {label} is lost"
        )
    if translation is not None:
        return translation[0](f"database {label}: {translation[1]}")
    if isinstance(error, OperationalError):
        return _kind_of(error)(f"database {label}: {_reason(error)}")
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return errors.DatabaseUnreachable(f"database {label}: the connection was lost: {_reason(error)}")
    return None


def _full_temporary(label: str) -> Path | None:
    """Return SQLite's temporary folder if its disk is full and the database's is not."""
    named = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp", "/tmp")  # noqa: S108
    folders = (Path(each) for each in named if each)
    folder = next((each for each in folders if each.is_dir() and os.access(each, os.W_OK | os.X_OK)), None)
    if folder is None or not _is_full(folder) or _is_full(Path(label).absolute().parent):
        return None
    return folder


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _LEFT
    except OSError:
        return False


def _kind_of(error: OperationalError) -> type[StorageError]:
    """Classify an error: an unreachable server, a refusal, or an invalid option."""
    words = str(error.orig)
    answered = getattr(error.orig, "sqlstate", None) is not None or "FATAL:" in words
    if isinstance(error.orig, sqlite3.Error) or answered:
        return errors.DatabaseUnavailable
    if _BAD_OPTION.search(words):
        return errors.DatabaseURLError
    return errors.DatabaseUnreachable


def _reason(error: DBAPIError) -> str:
    """Return the driver's message in one line."""
    lines = str(error.orig).strip().splitlines() or ["no reason given"]
    # With several addresses, psycopg's first line only says that each of them failed.
    reason = lines[-1].removeprefix("- ") if lines[0].endswith(":") else lines[0]
    if "refused" in reason or "failed to resolve" in reason:
        return f"{reason}: check that the server runs and that the URL is right"
    return reason
