"""Checks of an SQLite file: pages, indexes, table definitions."""

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, create_engine, text
from sqlalchemy.orm import Session

from patchgrid.storage import tables

#: Most page problems shown.
_MOST = 20
_SCHEMA = text("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'")


def file_problems(session: Session, *, quick: bool) -> Iterator[str]:
    """Return the file's problems, one line each; `quick` does not compare indexes with their tables."""
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        return
    pragma = "quick_check" if quick else "integrity_check"
    for (line,) in connection.exec_driver_sql(f"PRAGMA {pragma}({_MOST})"):
        if line != "ok":
            yield f"the file is damaged: {' '.join(str(line).split())}"
    for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"a row of table {row[0]} refers to a missing row of {row[2]}"
    yield from _schema_problems(connection)


def _words(row: Row[Any]) -> tuple[str, ...]:
    """Return a definition's words: SQLite puts a column that is added on the line of the one before."""
    kind, name, table, sql = tuple(row)
    return (str(kind), str(name), str(table), *re.findall(r"[\w.]+|[^\w\s]", str(sql)))


def _schema_problems(connection: Connection) -> Iterator[str]:
    engine = create_engine("sqlite://")
    with engine.connect() as memory:
        tables.metadata.create_all(memory)
        expected = {_words(row) for row in memory.execute(_SCHEMA)}
    engine.dispose()
    actual = {_words(row) for row in connection.execute(_SCHEMA)}
    # Additions, such as a user's index, are fine.
    for name in sorted({row[1] for row in expected - actual}):
        yield f"the definition of {name} was changed, or is missing"
    for name, last in connection.execute(text("SELECT name, seq FROM sqlite_sequence")):
        if name in tables.metadata.tables:
            largest = connection.scalar(text(f"SELECT max(id) FROM {name}")) or 0  # noqa: S608 (a table's name)
            if last < largest:
                yield f"ids of table {name} would be reused: next id {last + 1}, largest in use {largest}"
