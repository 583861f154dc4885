"""Lines of a file as bytes, with one line of bounded length in memory."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

#: Longest line that is read, in bytes.
LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line that is longer than `LIMIT` and was skipped."""

    #: Its length in bytes.
    size: int

    @property
    def problem(self) -> str:
        """The error message."""
        return f"the line is {self.size:,} bytes long; the limit is {LIMIT:,}"


def lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | LongLine]]:
    """Yield each line with its number from 1, including the line end, without the byte order mark."""
    number = 0
    while line := stream.readline(LIMIT + 1):
        number += 1
        if len(line) > LIMIT:
            yield number, LongLine(len(line) + _rest_of_line(stream, line))
        elif number == 1:
            yield number, line.removeprefix(codecs.BOM_UTF8)
        else:
            yield number, line


def undecodable(error: UnicodeDecodeError) -> str:
    """Say which byte is not UTF-8."""
    byte = error.object[error.start]
    return f"not UTF-8: byte 0x{byte:02x} at byte {error.start + 1} of the line"


def _rest_of_line(stream: BinaryIO, line: bytes) -> int:
    size = 0
    while line and not line.endswith(b"\n"):
        line = stream.readline(LIMIT)
        size += len(line)
    return size
