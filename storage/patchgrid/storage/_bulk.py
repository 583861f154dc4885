"""Inserting many rows fast: straight to the driver, past SQLAlchemy's handling of every parameter."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Dialect, Table
from sqlalchemy.orm import Session


def insert_rows(session: Session, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows that give *every* column of the table, in its order, as the driver takes them.

    That is: plain Python numbers and strings, and JSON as text (`as_json`).
    """
    if not rows:
        return
    connection = session.connection()
    statement, positional, names = _statement(table, connection.dialect)
    if positional:
        connection.exec_driver_sql(statement, list(rows))
    else:
        connection.exec_driver_sql(statement, [dict(zip(names, row, strict=True)) for row in rows])


def as_json(value: Any) -> str | None:
    """Give a value as JSON text, None as NULL."""
    return None if value is None else json.dumps(value)


@lru_cache(maxsize=64)
def _statement(table: Table, dialect: Dialect) -> tuple[str, bool, tuple[str, ...]]:
    names = tuple(table.columns.keys())
    compiled = table.insert().compile(dialect=dialect, column_keys=list(names))
    return str(compiled), compiled.positional, names
