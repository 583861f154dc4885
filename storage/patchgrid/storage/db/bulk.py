"""Inserting many rows fast: straight to the driver, past SQLAlchemy's handling of every parameter."""

import itertools
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Connection, Dialect, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

#: Rows from which on PostgreSQL's COPY is faster than INSERT.
_COPIED = 5
#: Rows that a statement inserts on SQLite: running one costs about as much as writing a row.
_TOGETHER = 16
#: How a type's values are sent in COPY's binary format.
_WIRE = {
    "Boolean": "bool",
    "Integer": "int4",
    "BigInteger": "int8",
    "Double": "float8",
    "String": "text",
    "Text": "text",
    "JSON": "text",
    "LargeBinary": "bytea",
}


#: A table and some of its rows, all columns in the table's order.
Rows = tuple[Table, Sequence[tuple[Any, ...]]]


def insert_rows(session: Session, *parts: Rows) -> None:
    """Insert rows that give *every* column of their table, in its order, as the driver takes them.

    That is: plain Python numbers and strings, and JSON as text (`as_json`). On PostgreSQL tables of few rows
    share a statement: waiting for each would take longer than writing them.
    """
    connection = session.connection()
    given = [(table, rows) for table, rows in parts if rows]
    if connection.dialect.name == "sqlite":
        for table, rows in given:
            _execute_many(connection, table, rows)
        return
    few = [part for part in given if len(part[1]) < _COPIED]
    if few:
        values = tuple(itertools.chain.from_iterable(itertools.chain.from_iterable(rows for _, rows in few)))
        shape = tuple((table, len(rows)) for table, rows in few)
        connection.exec_driver_sql(_insert_together(shape, connection.dialect), values)
    for table, rows in given:
        if len(rows) >= _COPIED:
            _copy(connection, table, rows)


def as_json(value: Any) -> str | None:
    """Return a value as JSON text, None as NULL."""
    return None if value is None else json.dumps(value)


def texts_as_json(texts: Sequence[str]) -> str:
    """Return texts as a JSON list, several times as fast as `as_json`."""
    return f"[{', '.join(map(encode_basestring_ascii, texts))}]"


@lru_cache(maxsize=256)
def _insert(table: Table, dialect: Dialect, mark: str, rows: int, used: tuple[int, ...] | None = None) -> str:
    columns = list(table.columns) if used is None else [table.columns[n] for n in used]
    row = f"({', '.join([mark] * len(columns))})"
    return f"INSERT INTO {_target(table, dialect, columns)} VALUES {', '.join([row] * rows)}"  # noqa: S608


@lru_cache(maxsize=256)
def _insert_together(shape: tuple[tuple[Table, int], ...], dialect: Dialect) -> str:
    *first, last = [_insert(table, dialect, "%s", rows) for table, rows in shape]
    named = ", ".join(f"part_{n} AS ({statement})" for n, statement in enumerate(first))
    return f"WITH {named} {last}" if named else last


def _target(table: Table, dialect: Dialect, columns: Iterable[Column[Any]]) -> str:
    quoted = dialect.identifier_preparer
    names = ", ".join(quoted.format_column(column) for column in columns)
    return f"{quoted.format_table(table)} ({names})"


def _execute_many(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows on SQLite, most of them `_TOGETHER` by a statement.

    Columns without any value are left out: None costs Python's driver more than any value.
    """
    used = tuple(n for n in range(len(table.columns)) if any(row[n] is not None for row in rows))
    if len(used) < len(table.columns):
        rows = list(map(itemgetter(*used), rows))
    whole = len(rows) - len(rows) % _TOGETHER
    together = [
        tuple(itertools.chain.from_iterable(rows[start : start + _TOGETHER]))
        for start in range(0, whole, _TOGETHER)
    ]
    if together:
        connection.exec_driver_sql(_insert(table, connection.dialect, "?", _TOGETHER, used), together)
    if whole < len(rows):
        connection.exec_driver_sql(_insert(table, connection.dialect, "?", 1, used), list(rows[whole:]))


def _copy(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Send rows by psycopg's COPY, within the connection's transaction."""
    statement, types = _copying(table, connection.dialect)
    driver: Any = connection.connection.driver_connection
    assert connection.dialect.dbapi is not None, "a connection is made by a driver"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
    except connection.dialect.dbapi.Error as error:
        # What SQLAlchemy does with an error of a statement that it ran itself.
        lost = connection.dialect.is_disconnect(error, driver, None)
        if lost:
            connection.invalidate(error)
        base = connection.dialect.dbapi.Error
        raise DBAPIError.instance(statement, None, error, base, connection_invalidated=lost) from error


@lru_cache(maxsize=64)
def _copying(table: Table, dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    statement = f"COPY {_target(table, dialect, table.columns)} FROM STDIN (FORMAT BINARY)"
    return statement, tuple(_WIRE[type(column.type).__name__] for column in table.columns)
