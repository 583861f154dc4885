"""Read-only SQL for people."""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from patchgrid.storage.db.connection import read_only_uri
from patchgrid.storage.db.database import Database
from patchgrid.storage.db.translate import translate
from patchgrid.storage.errors import QueryError

#: Rows fetched at a time.
_BATCH = 500
#: Virtual machine steps between two looks at the clock, on SQLite.
_STEPS = 10_000
_READS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
#: Pragmas that describe the tables.
_PRAGMAS = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"}
_ONLY_READS = "read-only connection: only SELECT, WITH and EXPLAIN are allowed"

#: EXPLAIN behind spaces and comments.
_EXPLAIN = re.compile(r"(\s|--[^\n]*(\n|$)|/\*.*?\*/)*explain\b", re.IGNORECASE | re.DOTALL)

Rows = Iterator[tuple[Any, ...]]


def query_readonly(database: Database, sql: str, timeout: float = 30) -> tuple[tuple[str, ...], Rows]:
    """Run one statement on a read-only connection; return the column names and an iterator of rows.

    `timeout` bounds the seconds the database spends; the reader's own time does not count. Raises
    `QueryError` in one line for a statement that is wrong, writes, or takes too long (the last also while the
    rows are read).
    """
    if "\x00" in sql:
        raise QueryError("SQL: the statement contains a null character")
    run = _sqlite if database.engine.dialect.name == "sqlite" else _postgresql
    rows = run(database, sql, _Budget(timeout))
    # The statement runs, and raises its errors, when the columns are read.
    return next(rows), rows


class _Budget:
    """The seconds that the database may still spend."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._left = seconds
        self._started = 0.0

    def is_spent(self) -> bool:
        """Return whether the running work has used up the budget."""
        return time.monotonic() - self._started > self._left

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Count the time of the body."""
        self._started = time.monotonic()
        try:
            yield
            if self.is_spent():
                raise self.error()
        finally:
            self._left -= time.monotonic() - self._started

    def error(self) -> QueryError:
        """Return the error of a statement that took too long."""
        return QueryError(
            f"the query took longer than {self.seconds:g} seconds: narrow it, or raise --timeout"
        )


def _sqlite(database: Database, sql: str, budget: _Budget) -> Rows:
    uri = read_only_uri(Path(str(database.engine.url.database)))
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.set_authorizer(_allow)
        connection.set_progress_handler(budget.is_spent, _STEPS)
        with budget.spend():
            cursor = connection.execute(sql)
        yield tuple(column[0] for column in cursor.description or ())
        batch = None
        while batch != []:
            with budget.spend():
                batch = cursor.fetchmany(_BATCH)
            yield from batch
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise _explained(error, database, budget) from error
    finally:
        connection.close()


def _explained(error: Exception, database: Database, budget: _Budget) -> Exception:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_INTERRUPT:
        return budget.error()
    if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
        return QueryError(_ONLY_READS)
    if code == sqlite3.SQLITE_ERROR:  # the statement's fault, not the file's
        return QueryError(f"SQL: {error}")
    return translate(error, database.label) or QueryError(f"SQL: {error}")


def _allow(action: int, first: str | None, *_: object) -> int:
    describes = action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS
    return sqlite3.SQLITE_OK if action in _READS or describes else sqlite3.SQLITE_DENY


def _postgresql(database: Database, sql: str, budget: _Budget) -> Rows:
    with database.engine.connect() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text(f"SET LOCAL statement_timeout = {round(budget.seconds * 1000)}"))
        try:
            if _EXPLAIN.match(sql):
                yield from _explain(connection, sql, budget)
                return
            # A server-side cursor takes a single SELECT and keeps the rows on the server.
            options = {"stream_results": True, "no_parameters": True, "yield_per": _BATCH}
            with budget.spend():
                result = connection.execution_options(**options).exec_driver_sql(sql)
            with result:
                yield tuple(result.keys())
                batch = None
                while batch != []:
                    with budget.spend():
                        batch = [tuple(row) for row in result.fetchmany(_BATCH)]
                    yield from batch
        except DBAPIError as error:
            raise _explained_postgresql(error, database, budget) from error


def _explain(connection: Connection, sql: str, budget: _Budget) -> Rows:
    """Run EXPLAIN, which no server-side cursor takes; a prepared statement is a single one, too."""
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        try:
            with budget.spend():
                cursor.execute(sql.encode(), prepare=True)
        except _driver_error(connection) as error:
            raise DBAPIError.instance(sql, None, error, _driver_error(connection)) from error
        yield tuple(column.name for column in cursor.description or ())
        yield from cursor.fetchall()


def _driver_error(connection: Connection) -> type[Exception]:
    """Return the class of the driver's errors."""
    assert connection.dialect.dbapi is not None, "a connection is made by a driver"
    error_type: type[Exception] = connection.dialect.dbapi.Error
    return error_type


def _explained_postgresql(error: DBAPIError, database: Database, budget: _Budget) -> Exception:
    code = getattr(error.orig, "sqlstate", None)
    if code == "57014":
        return budget.error()
    if code == "25006":
        return QueryError(_ONLY_READS)
    lost = translate(error, database.label) if error.connection_invalidated else None
    return lost or QueryError(f"SQL: {str(error.orig).strip().splitlines()[0]}")
