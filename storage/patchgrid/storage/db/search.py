"""Looking for a text that a person typed."""

from typing import Any

from sqlalchemy import ColumnElement, false, or_

from patchgrid.storage.errors import SearchRefused

#: Longest text that is looked for, in characters.
LONGEST = 1000


def contains(text: str, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
    """Give the condition that one of the columns has the text in it, whatever the case of its letters.

    SQLite knows that of ASCII's letters only. `SearchRefused` if the text is too long.
    """
    check_length(text)
    if not storable(text):
        return false()
    return or_(*(column.icontains(text, autoescape=True) for column in columns))


def check_length(text: str) -> None:
    """Raise `SearchRefused` if a text is too long to be looked for."""
    if len(text) > LONGEST:
        raise SearchRefused(f"a text to look for has at most {LONGEST:,} characters, not {len(text):,}")


def storable(text: str) -> bool:
    """Tell whether a text can be in a database: PostgreSQL does not take others even as parameters."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
