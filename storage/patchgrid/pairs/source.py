"""Where a pair file's bytes come from: a file on disk, or a stream kept in a temporary file."""

import os
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from patchgrid.pairs.errors import PairFileError

#: Size, time of the last change, device and inode: other values mean another content.
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Source:
    """A regular file that can be read again, and what to call it."""

    #: Where to read.
    path: Path
    #: What the user calls it.
    name: str
    #: Whether the file is ours to delete.
    temporary: bool = False

    def stamp(self) -> Stamp:
        """Give what tells whether the file was changed."""
        found = self.path.stat()
        return (found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino)


def find_source(path: str | os.PathLike[str], name: str) -> Source:
    """Find the file; what `-` (standard input) and pipes give is kept in a temporary file."""
    if os.fspath(path) == "-":
        return _kept(sys.stdin.buffer, name)
    place = Path(path)
    mode = place.stat().st_mode
    if stat.S_ISDIR(mode):
        raise PairFileError(f"{name}: is a folder, not a pair file")
    if stat.S_ISREG(mode):
        return Source(place, name)
    with place.open("rb") as stream:
        return _kept(stream, name)


def _kept(stream: BinaryIO, name: str) -> Source:
    descriptor, path = tempfile.mkstemp(prefix="patchgrid-pairs-")
    try:
        with os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
    except BaseException:
        Path(path).unlink()
        raise
    return Source(Path(path), name, temporary=True)
