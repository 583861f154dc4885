"""How much the pages of a Parquet file unpack to, told before any is unpacked.

A page of a few bytes can stand for gigabytes, and what a file says of its columns need not be so. What the
reader goes by are the pages' own headers: they are read here, and by plain Python, for damage can end the
whole process where pyarrow is asked for them.
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from patchgrid.pairs.formats.lines import LIMIT
from patchgrid.pairs.formats.thrift import read_struct

#: Bytes that a page may unpack to: what writes pages makes them of about one megabyte.
MOST = 64 << 20
#: Bytes of rows that are read at a time, and rows at most.
_AT_ONCE, _ROWS = 32 << 20, 512
#: Bytes of text that a file may come to, and how many times its own size.
_TEXT, _SHARED = 256 << 20, 100
#: Bytes of what a file says of itself, and pages of a column in a row group, at most.
_FOOTER, _PAGES = 4 << 20, 1_000_000
#: Where a page's header has its kinds of content, the first field of each being the number of values.
_CONTENTS = (5, 7, 8)


class TooMuchError(ValueError):
    """More than a file of pairs may hold."""


def batch_size(path: Path) -> int:
    """Give how many rows may be read at a time.

    `TooMuchError` for pages that unpack to too much, `ValueError` for a file that is damaged.
    """
    longest = 1
    try:
        with path.open("rb") as stream:
            for column in _columns(stream):
                for page in _pages(stream, column):
                    name = b".".join(column.get(3, ())).decode(errors="replace")
                    longest = max(longest, _check(page, name))
    except (AttributeError, TypeError, OverflowError) as error:
        raise ValueError("its pages are not described as pages are") from error
    return max(1, min(_ROWS, _AT_ONCE // longest))


def most_text(path: Path) -> int:
    """Give the bytes of text that a file may come to: pages can share a text among rows without end."""
    return max(_TEXT, _SHARED * path.stat().st_size)


def _check(page: dict[int, Any], column: str) -> int:
    """Refuse a page that is too large; give the bytes that its values have on average."""
    unpacked = page.get(2, 0)
    if unpacked > MOST:
        size = f"{unpacked:,} bytes, the most is {MOST:,}"
        raise TooMuchError(f"a page of column {column!r} unpacks to {size}: write smaller ones")
    values = max((page[kind].get(1, 0) for kind in _CONTENTS if kind in page), default=0)
    each: int = unpacked // max(1, values)
    if each > LIMIT + 64:
        raise TooMuchError(f"column {column!r} has values of {each:,} bytes, the most is {LIMIT:,}")
    return each


def _columns(stream: BinaryIO) -> Iterator[dict[int, Any]]:
    """Give what the file says of each column of each row group that has rows."""
    end = stream.seek(-8, io.SEEK_END)
    size, mark = int.from_bytes(stream.read(4), "little"), stream.read(4)
    if mark != b"PAR1" or size > end:
        raise ValueError("what it says of itself is not at its end")
    if size > _FOOTER:
        raise TooMuchError(f"says {size:,} bytes of itself at its end, the most is {_FOOTER:,}")
    stream.seek(end - size)
    for group in read_struct(io.BytesIO(stream.read(size))).get(4, ()):
        if group.get(3):
            for chunk in group.get(1, ()):
                yield chunk.get(3, {})


def _pages(stream: BinaryIO, column: dict[int, Any]) -> Iterator[dict[int, Any]]:
    """Give the headers of a column's pages."""
    start = column.get(9, 0)
    if 0 < column.get(11, 0) < start:
        start = column[11]
    place, end = start, start + column.get(7, 0)
    for _ in range(_PAGES):
        if place >= end:
            return
        stream.seek(max(0, place))
        page = read_struct(stream)
        yield page
        if page.get(3, -1) < 0:
            raise ValueError("a page has no size")
        place = stream.tell() + page[3]
    raise TooMuchError(f"a column has more than {_PAGES:,} pages")
