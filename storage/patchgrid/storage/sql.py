"""Read-only SQL for people."""

from collections.abc import Iterator
from typing import Any

from patchgrid.storage.database import Database


def query_readonly(
    database: Database, sql: str, timeout: float = 30
) -> tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]:
    """Run one statement on a read-only connection; give the column names and the rows as they come.

    `timeout` bounds the seconds the database spends; the reader's own time does not count. Raises
    `QueryError` in one line for a statement that is wrong, writes, or takes too long (the last also while the
    rows are read).
    """
    raise NotImplementedError
