"""Read-only SQL for people."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import CursorResult, text
from sqlalchemy.exc import DBAPIError

from patchgrid.storage._translate import translate
from patchgrid.storage.database import Database
from patchgrid.storage.errors import QueryError

#: Rows fetched at a time.
_BATCH = 500
#: Virtual machine steps between two looks at the clock.
_STEPS = 10_000
_READS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
#: Pragmas that describe the tables.
_PRAGMAS = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"}

_T = TypeVar("_T")
Rows = Iterator[tuple[Any, ...]]


def query_readonly(database: Database, sql: str, timeout: float = 30) -> tuple[tuple[str, ...], Rows]:
    """Run one statement on a read-only connection; give the column names and the rows as they come.

    `timeout` bounds the seconds the database spends; the reader's own time does not count. Raises
    `QueryError` in one line for a statement that is wrong, writes, or takes too long (the last also while the
    rows are read).
    """
    run = _sqlite if database.engine.dialect.name == "sqlite" else _postgresql
    rows = run(database, sql, timeout)
    # The statement runs, and its errors show, when the columns are asked for.
    return next(rows), rows


def _sqlite(database: Database, sql: str, timeout: float) -> Rows:
    path = quote(str(database.engine.url.database))
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    spent = _Budget(timeout)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.set_authorizer(_allow)
        connection.set_progress_handler(spent.over, _STEPS)
        cursor = spent.on(lambda: connection.execute(sql), database)
        yield tuple(column[0] for column in cursor.description or ())
        while batch := spent.on(lambda: cursor.fetchmany(_BATCH), database):
            yield from batch
    finally:
        connection.close()


class _Budget:
    """The seconds that SQLite may still spend."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._left = seconds
        self._started = 0.0

    def over(self) -> bool:
        return time.monotonic() - self._started > self._left

    def on(self, work: Callable[[], _T], database: Database) -> _T:
        self._started = time.monotonic()
        try:
            return work()
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._explain(error, database) from error
        finally:
            self._left -= time.monotonic() - self._started

    def _explain(self, error: Exception, database: Database) -> Exception:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_INTERRUPT:
            return QueryError(
                f"the query took longer than {self.seconds:g} seconds: narrow it, or raise the limit"
            )
        if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
            return QueryError("this connection only reads: SELECT, WITH and EXPLAIN are what it runs")
        return translate(error, database.label) or QueryError(f"SQL: {error}")


def _allow(action: int, first: str | None, *_: object) -> int:
    describes = action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS
    return sqlite3.SQLITE_OK if action in _READS or describes else sqlite3.SQLITE_DENY


def _postgresql(database: Database, sql: str, timeout: float) -> Rows:
    with ExitStack() as stack:
        connection = stack.enter_context(database.engine.connect())
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text(f"SET LOCAL statement_timeout = {round(timeout * 1000)}"))
        # A server-side cursor takes a single SELECT and keeps the rows on the server.
        streaming = connection.execution_options(stream_results=True, no_parameters=True, yield_per=_BATCH)
        try:
            result: CursorResult[Any] = streaming.exec_driver_sql(sql)
            yield tuple(result.keys())
            for row in result:
                yield tuple(row)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == "57014":
                raise QueryError(
                    f"the query took longer than {timeout:g} seconds: narrow it, or raise the limit"
                ) from error
            raise QueryError(f"SQL: {str(error.orig).strip().splitlines()[0]}") from error
