"""Checks of the environment: arguments, variables and standard streams."""

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from patchgrid.cli.errors import UsageError

#: Prefix of our environment variables.
_OURS = "PATCHGRID_"
#: Error numbers of a full disk.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_text(arguments: Sequence[str]) -> None:
    """Refuse arguments, and variables of ours, that are not UTF-8 or contain a null character."""
    named = [(f"argument {number}", text) for number, text in enumerate(arguments, start=1)]
    named += [(name, value) for name, value in os.environ.items() if name.startswith(_OURS)]
    for name, text in named:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{name} is not valid UTF-8: {text!a}") from None
        if "\0" in text:
            raise UsageError(f"{name} contains a null character: {text!a}")


def open_streams() -> None:
    """Open closed standard streams: otherwise the next file, perhaps a database, would take their place.

    Writing to a closed stdout fails, as it should; messages for a stderr that is closed, or on a full disk,
    are dropped.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)))
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.BufferedWriter(io.FileIO(2, "w", closefd=False)), write_through=True)
    own = sys.__stderr__
    if own is not None and sys.stderr is own:
        sys.stderr = _Lenient(own)


class _Lenient(io.TextIOWrapper):
    """A stderr that drops messages when its disk is full, instead of failing."""

    def __init__(self, stream: TextIO) -> None:
        raw = io.FileIO(stream.fileno(), "w", closefd=False)
        super().__init__(
            _Dropping(raw), encoding=stream.encoding, errors="backslashreplace", line_buffering=True
        )


class _Dropping(io.BufferedIOBase):
    """Writes unbuffered, and drops what a full disk refuses."""

    name = "<stderr>"

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._raw.write(rest) or len(rest) :]
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
        return len(data)
