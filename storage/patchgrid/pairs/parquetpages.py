"""How much the pages of a Parquet file unpack to, told before any is unpacked.

A page of a few bytes can stand for gigabytes, and what a file says of itself at its end need not be so. What
the reader goes by are the pages' own headers: they are read here (Thrift's compact protocol).
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from patchgrid.pairs.lines import LIMIT

#: Bytes that a page may unpack to: what writes pages makes them of about one megabyte.
MOST = 64 << 20
#: Bytes of rows that are read at a time, and rows at most.
_AT_ONCE, _ROWS = 32 << 20, 512
#: Bytes of text that a file may come to, and how many times its own size.
_TEXT, _SHARED = 256 << 20, 100
#: Pages of a column in a row group at most; structures within each other in a header.
_PAGES, _DEPTH = 1_000_000, 16
_TYPE_BINARY, _TYPE_LIST, _TYPE_SET, _TYPE_MAP, _TYPE_STRUCT = 8, 9, 10, 11, 12
#: Fields of a page's header: its sizes, and the structures whose first field is the number of values.
_UNPACKED, _PACKED, _COUNTED = 2, 3, (5, 7, 8)


class TooMuchError(ValueError):
    """More than a file of pairs may hold."""


class Page(NamedTuple):
    """What a page's header says."""

    #: Bytes, unpacked and in the file.
    unpacked: int
    packed: int
    #: Values, or texts of a dictionary.
    values: int


def batch_size(path: Path, metadata: Any) -> int:
    """Give how many rows may be read at a time; `TooMuchError` for pages that unpack to too much."""
    longest = 1
    with path.open("rb") as stream:
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for column in map(group.column, range(group.num_columns if group.num_rows else 0)):
                for page in _pages(stream, column):
                    longest = max(longest, _check(page, column.path_in_schema))
    return max(1, min(_ROWS, _AT_ONCE // longest))


def most_text(path: Path) -> int:
    """Give the bytes of text that a file may come to: pages can share a text among rows without end."""
    return max(_TEXT, _SHARED * path.stat().st_size)


def _check(page: Page, column: str) -> int:
    """Refuse a page that is too large; give the bytes that its values have on average."""
    if page.unpacked > MOST:
        size = f"{page.unpacked:,} bytes, the most is {MOST:,}"
        raise TooMuchError(f"a page of column {column!r} unpacks to {size}: write smaller ones")
    each = page.unpacked // max(1, page.values)
    if each > LIMIT + 64:
        raise TooMuchError(f"column {column!r} has values of {each:,} bytes, the most is {LIMIT:,}")
    return each


def _pages(stream: BinaryIO, column: Any) -> Iterator[Page]:
    start = column.data_page_offset
    if column.dictionary_page_offset is not None and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    place, end = start, start + column.total_compressed_size
    for _ in range(_PAGES):
        if place >= end:
            return
        stream.seek(place)
        page = _header(stream)
        yield page
        place = stream.tell() + page.packed
    raise TooMuchError(f"column {column.path_in_schema!r} has more than {_PAGES:,} pages")


def _header(stream: BinaryIO) -> Page:
    sizes = {_UNPACKED: -1, _PACKED: -1}
    values = 0

    def take(field: int, kind: int) -> None:
        nonlocal values
        if field in sizes:
            sizes[field] = _zigzag(stream)
        elif field in _COUNTED and kind == _TYPE_STRUCT:
            values = max(values, _first_number(stream))
        else:
            _skip(stream, kind, _DEPTH)

    _struct(stream, take)
    if min(sizes.values()) < 0:
        raise ValueError("a page has no size")
    return Page(sizes[_UNPACKED], sizes[_PACKED], values)


def _first_number(stream: BinaryIO) -> int:
    """Read a structure, and give its first field."""
    found = 0

    def take(field: int, kind: int) -> None:
        nonlocal found
        if field == 1:
            found = _zigzag(stream)
        else:
            _skip(stream, kind, _DEPTH)

    _struct(stream, take)
    return found


def _struct(stream: BinaryIO, take: Callable[[int, int], None]) -> None:
    field = 0
    while (head := _byte(stream)) != 0:
        field = field + (head >> 4) if head >> 4 else _zigzag(stream)
        take(field, head & 15)


def _skip(stream: BinaryIO, kind: int, depth: int) -> None:
    if depth == 0 or kind > _TYPE_STRUCT:
        raise ValueError("a page's header cannot be read")
    if kind == 3:
        _byte(stream)
    elif kind in (4, 5, 6):
        _number(stream)
    elif kind == 7:
        _pass(stream, 8)
    elif kind == _TYPE_BINARY:
        _pass(stream, _number(stream))
    elif kind == _TYPE_STRUCT:
        _struct(stream, lambda _, inner: _skip(stream, inner, depth - 1))
    elif kind in (_TYPE_LIST, _TYPE_SET, _TYPE_MAP):
        raise ValueError("a page's header has what no page's header has")


def _pass(stream: BinaryIO, size: int) -> None:
    stream.seek(size, 1)


def _zigzag(stream: BinaryIO) -> int:
    number = _number(stream)
    return (number >> 1) ^ -(number & 1)


def _number(stream: BinaryIO) -> int:
    """Read a number of up to 64 bits, seven bits a byte."""
    found = 0
    for shift in range(0, 70, 7):
        byte = _byte(stream)
        found |= (byte & 127) << shift
        if byte < 128:
            return found
    raise ValueError("a page's header has a number that is none")


def _byte(stream: BinaryIO) -> int:
    read = stream.read(1)
    if not read:
        raise ValueError("the file ends within a page's header")
    return read[0]
