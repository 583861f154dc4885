"""Text search."""

from typing import Any

from sqlalchemy import ColumnElement, false, or_

from patchgrid.storage.errors import SearchRefused

#: Longest search text, in characters.
LONGEST = 1000


def contains(text: str, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that a column contains the text, ignoring case.

    SQLite ignores case for ASCII only. Raises `SearchRefused` if the text is too long.
    """
    check_length(text)
    if not storable(text):
        return false()
    return or_(*(column.icontains(text, autoescape=True) for column in columns))


def check_length(text: str) -> None:
    """Raise `SearchRefused` if a search text is too long."""
    if len(text) > LONGEST:
        raise SearchRefused(f"a search text may have at most {LONGEST:,} characters, not {len(text):,}")


def storable(text: str) -> bool:
    """Return whether a database can store a text: PostgreSQL refuses others even as parameters."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
