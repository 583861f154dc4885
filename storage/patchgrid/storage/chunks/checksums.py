"""Checksums of immutable data: a submitted job, each finished chunk, an ended job.

A checksum covers every column of its rows, except the few named here that may change later. A column without
any value counts as absent, so that a nullable column added by a later version changes no checksum.
"""

import hashlib
import re
import struct
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import JSON, Column, Double, Integer, LargeBinary, Table, Text, cast, select, type_coerce
from sqlalchemy.orm import Session

from patchgrid.storage import tables
from patchgrid.storage.db.bulk import Rows, insert_rows
from patchgrid.storage.tables import checksum

#: Columns of a chunk that may change after it is finished.
CHUNK_FREE = frozenset({"priority", "turn"})
#: Columns of a job that may change at any time.
JOB_FREE = frozenset({"priority"})
#: Columns of a job that are settled when it ends, not when it is submitted.
JOB_SETTLED = frozenset({"state", "started_at", "finished_at", "error", "result_bytes", "rounds"})
#: Tables with the results of a chunk: those by pair, and those by chunk.
BY_PAIR = (tables.outcome, tables.top_component, tables.exact, tables.method_score)
BY_CHUNK = (tables.sums, tables.scores, tables.cost, tables.task, tables.rounding, tables.race)
#: What a checksum is for: the job as submitted, its pairs (where the key is no hash of them), a finished
#: chunk, the job's end.
JOB, PAIRS, CHUNK, END = "job", "pairs", "chunk", "end"
#: The key of a job that was given no other: a hash of its pairs and spec.
HASH_KEY = re.compile(r"[0-9a-f]{64}")
#: Bytes of a packed blob that tell its content: the mark and the CRC-32 of all that follows.
_BLOB_HEAD = 8

Row = tuple[Any, ...]


def digest_of(parts: Iterable[Rows], free: Collection[str] = ()) -> str:
    """Return the checksum of rows in any order; columns in `free` are excluded."""
    digest = hashlib.sha256()
    for table, rows in parts:
        digest.update(f"{table.name} {len(rows)}\n".encode())
        for column, values in zip(table.columns, zip(*_in_order(rows), strict=True), strict=bool(rows)):
            if column.name not in free and _has_values(values):
                digest.update(f"{column.name}\n".encode())
                digest.update(_encoded(column, values))
    return digest.hexdigest()


def _has_values(values: tuple[Any, ...]) -> bool:
    return values[0] is not None or values.count(None) < len(values)


def _in_order(rows: Sequence[Row]) -> Sequence[Row]:
    """Sort rows by their keys, which come first in every table; damaged rows may have keys of any type."""
    try:
        return sorted(rows)
    except TypeError:
        return sorted(rows, key=repr)


def _encoded(column: Column[Any], values: tuple[Any, ...]) -> bytes:
    """Write a column's values so that equal columns are equal bytes; damaged values may be of any type."""
    kind = column.type
    try:
        if isinstance(kind, LargeBinary):
            return repr([(bytes(value[:_BLOB_HEAD]), len(value)) for value in values]).encode()
        if isinstance(kind, Integer):
            return struct.pack(f"<{len(values)}q", *values)
        if isinstance(kind, Double):
            if 0.0 in values:
                # SQLite gives 0 for -0.
                values = tuple(0.0 if value == 0 else value for value in values)
            return struct.pack(f"<{len(values)}d", *values)
        text = "\0".join(values)
        if text.count("\0") == len(values) - 1:
            return text.encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, OverflowError, struct.error):
        pass
    return repr(values).encode("utf-8", "surrogatepass")


def stored_rows(session: Session, table: Table, *where: Any) -> list[Row]:
    """Return rows of a table as they are stored, JSON as its text."""
    on_sqlite = session.get_bind().dialect.name == "sqlite"

    def raw(column: Column[Any]) -> Any:
        if not isinstance(column.type, JSON):
            return column
        # On SQLite without a cast: that would make text of whatever is there.
        return type_coerce(column, Text) if on_sqlite else cast(column, Text)

    query = select(*(raw(column).label(column.name) for column in table.columns)).where(*where)
    return [tuple(row) for row in session.execute(query)]


def seal_job(session: Session, job_id: int, pairs_digest: str | None) -> None:
    """Store the checksum of a job just submitted, and its pairs' digest where its key is no hash of them."""
    insert_rows(session, (checksum, [(job_id, JOB, 0, job_digest(session, job_id))]))
    if pairs_digest is not None:
        insert_rows(session, (checksum, [(job_id, PAIRS, 0, pairs_digest)]))


def chunk_seal(row: Sequence[Any], parts: Sequence[Rows]) -> Rows:
    """Return the checksum of a chunk that was just finished, of its row and the rows of its results."""
    chunk_id, job_id = row[0], row[1]
    digest = digest_of([(tables.chunk, [tuple(row)]), *parts], CHUNK_FREE)
    return checksum, [(job_id, CHUNK, chunk_id, digest)]


def seal_end(session: Session, job_id: int) -> None:
    """Store the checksum of how a job ended, and of what it has besides its chunks."""
    insert_rows(session, (checksum, [(job_id, END, 0, end_digest(session, job_id))]))


def break_end(session: Session, job_id: int, chunks: Collection[int]) -> None:
    """Remove the checksums of an ended job and of its restarted chunks."""
    mine = checksum.c.job_id == job_id
    session.execute(checksum.delete().where(mine, checksum.c.what == END))
    for chunk_id in chunks:
        session.execute(
            checksum.delete().where(mine, checksum.c.what == CHUNK, checksum.c.chunk_id == chunk_id)
        )


def job_digest(session: Session, job_id: int) -> str:
    """Return the checksum of a job as submitted."""
    rows = stored_rows(session, tables.job, tables.job.c.id == job_id)
    return digest_of([(tables.job, rows)], JOB_FREE | JOB_SETTLED)


#: What a job has besides its chunks.
_AT_END = (
    *(tables.total, tables.component_estimate, tables.pilot, tables.mean),
    *(tables.plan, tables.refinement),
)


def end_digest(session: Session, job_id: int) -> str:
    """Return the checksum of a job's end: its settled columns, and all that it has besides its chunks."""
    rows = stored_rows(session, tables.job, tables.job.c.id == job_id)
    fixed = {column.name for column in tables.job.columns} - JOB_SETTLED
    rest = [(table, stored_rows(session, table, table.c.job_id == job_id)) for table in _AT_END]
    # A table without rows counts as one that a later version added.
    parts = [(table, own) for table, own in rest if own or table not in (tables.plan, tables.refinement)]
    return digest_of([(tables.job, rows), *parts], fixed)


def chunk_digest(session: Session, row: Any) -> str:
    """Return the checksum of a finished chunk, a row of the table `chunk`, as it is stored now."""
    parts: list[Rows] = [(tables.chunk, stored_rows(session, tables.chunk, tables.chunk.c.id == row.id))]
    return digest_of([*parts, *chunk_rows(session, row)], CHUNK_FREE)


def chunk_rows(session: Session, row: Any) -> list[Rows]:
    """Return the rows of a chunk's results, in the order of its checksum."""
    tables_and_rows: list[Rows] = []
    for table in (*BY_PAIR, *BY_CHUNK):
        if "round" in table.c:
            rows = stored_rows(
                session, table, *of_chunk(table, row), table.c.round.is_not_distinct_from(row.round)
            )
        elif table in BY_PAIR:
            rows = stored_rows(session, table, *of_chunk(table, row)) if row.round is None else []
        else:
            rows = stored_rows(session, table, table.c.chunk_id == row.id)
        if rows:
            tables_and_rows.append((table, rows))
    return tables_and_rows


def of_chunk(table: Table, row: Any) -> tuple[Any, ...]:
    """Return the conditions that a row of a table by pair is of one of the chunk's pairs."""
    return table.c.job_id == row.job_id, table.c.pair_index.between(row.first, row.last - 1)


def in_order(parts: Iterable[Rows]) -> list[Rows]:
    """Put together the rows of each table that were written, in the order in which checksums take them."""
    by_table: dict[Table, list[Row]] = {}
    for table, rows in parts:
        by_table.setdefault(table, []).extend(rows)
    return [(table, by_table[table]) for table in (*BY_PAIR, *BY_CHUNK) if by_table.get(table)]
