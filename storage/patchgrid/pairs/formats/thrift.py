"""Structures in Thrift's compact protocol, as Parquet writes them: read into plain values, within bounds.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from typing import Any, BinaryIO

#: Bytes of a text that are kept; a longer one is passed over.
_TEXT = 1 << 12
#: Values of a list at most, and structures within each other.
_LIST, _DEPTH = 1 << 20, 16
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _MAP, _STRUCT = 1, 2, 3, 7, 8, 11, 12
_NUMBERS, _LISTS = (4, 5, 6), (9, 10)


def read_struct(stream: BinaryIO, depth: int = _DEPTH) -> dict[int, Any]:
    """Read a structure: field number to value; `ValueError` for what is none."""
    found: dict[int, Any] = {}
    field = 0
    while (head := _byte(stream)) != 0:
        field = field + (head >> 4) if head >> 4 else _zigzag(stream)
        kind = head & 15
        found[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else _value(stream, kind, depth)
    return found


def _value(stream: BinaryIO, kind: int, depth: int) -> Any:
    if depth == 0:
        raise ValueError("a value lies too deep")
    if kind in _NUMBERS:
        return _zigzag(stream)
    if kind == _BINARY:
        return _text(stream, _number(stream))
    if kind == _STRUCT:
        return read_struct(stream, depth - 1)
    if kind in _LISTS:
        return _list(stream, depth - 1)
    if kind in (_TRUE, _FALSE, _BYTE):
        return _byte(stream)
    if kind == _DOUBLE:
        return _text(stream, 8)
    raise ValueError(f"there is no kind {kind} of value")


def _list(stream: BinaryIO, depth: int) -> list[Any]:
    head = _byte(stream)
    size = _number(stream) if head >> 4 == 15 else head >> 4
    if size > _LIST:
        raise ValueError("a list is too long")
    return [_value(stream, head & 15, depth) for _ in range(size)]


def _text(stream: BinaryIO, size: int) -> bytes:
    if size > _TEXT:
        stream.seek(min(size, 1 << 40), 1)
        return b""
    return stream.read(size)


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
    raise ValueError("a number has no end")


def _byte(stream: BinaryIO) -> int:
    read = stream.read(1)
    if not read:
        raise ValueError("a structure has no end")
    return read[0]
