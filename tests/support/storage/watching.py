"""The statements that a database is asked, and how it means to answer them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from patchgrid.storage import Database


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Yield the statements that the block runs, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def plan(database: Database, statement: str, parameters: Any) -> str:
    """Return the database's query plan for a statement."""
    sqlite = database.engine.dialect.name == "sqlite"
    explain = "EXPLAIN QUERY PLAN" if sqlite else "EXPLAIN"
    with database.read() as session:
        if not sqlite:
            # Reading all of the few rows of a test would cost least.
            session.connection().exec_driver_sql("SET LOCAL enable_seqscan = off")
        rows = session.connection().exec_driver_sql(f"{explain} {statement}", parameters).all()
    return "\n".join(str(row[-1]) for row in rows)
