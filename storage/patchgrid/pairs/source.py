"""The source of a pair file: a file on disk, or a stream copied to a temporary file."""

import os
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from patchgrid.pairs.errors import PairFileError

#: Size, mtime, device and inode: different values mean different content.
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Source:
    """A regular file that can be read repeatedly, and its name."""

    #: Where to read.
    path: Path
    #: The user's name of it.
    name: str
    #: Whether it is a temporary copy.
    temporary: bool = False

    def stamp(self) -> Stamp:
        """Return a stamp that changes when the file does."""
        status = self.path.stat()
        return (status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)


def find_source(path: str | os.PathLike[str], name: str) -> Source:
    """Find the file; standard input (`-`) and pipes are copied to a temporary file."""
    if os.fspath(path) == "-":
        return _spooled(sys.stdin.buffer, name)
    place = Path(path)
    mode = place.stat().st_mode
    if stat.S_ISDIR(mode):
        raise PairFileError(f"{name}: is a folder, not a pair file")
    if stat.S_ISREG(mode):
        return Source(place, name)
    with place.open("rb") as stream:
        return _spooled(stream, name)


def _spooled(stream: BinaryIO, name: str) -> Source:
    descriptor, path = tempfile.mkstemp(prefix="patchgrid-pairs-")
    try:
        with os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
    except BaseException:
        Path(path).unlink()
        raise
    return Source(Path(path), name, temporary=True)
