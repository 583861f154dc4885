"""Flipping single bits of an SQLite file, and telling whether that changes anything in it."""

import sqlite3
from pathlib import Path
from typing import Any


def flipped(source: Path, target: Path, bit: int) -> Path:
    """Copy a file with one bit flipped."""
    content = bytearray(source.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    target.write_bytes(content)
    return target


def dump(path: Path) -> dict[str, list[Any]]:
    """Return all content of a database, each value with its type, and the definitions of its tables.

    Where ids go on is no content: a smaller one the check finds, a larger one does no harm.
    """
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.text_factory = bytes
    try:
        definitions = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
        found: dict[str, list[Any]] = {"": [[(word or b"").split() for word in row] for row in definitions]}
        for name in (name[0].decode() for kind, name, *_ in found[""] if kind == [b"table"]):
            if name != "sqlite_sequence":
                rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
                found[name] = [[(type(value), value) for value in row] for row in rows]
        return found
    finally:
        connection.close()
