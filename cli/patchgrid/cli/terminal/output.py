"""Where exported bytes go: standard output, or a file that appears whole or not at all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from patchgrid.cli.errors import OutputError


@contextmanager
def open_output(path: str | None) -> Iterator[BinaryIO]:
    """Give a file to write bytes to; on any error the file of that name is what it was before.

    Raises
    ------
    OutputError
        The folder is not there, may not be written, or the disk is full.
    """
    if path is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with written_whole(Path(path)) as temporary, _named(path), temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, renamed to it at the end and removed on any error."""
    target = path.resolve()
    if target.exists() and not target.is_file():
        if target.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder")
        yield target  # a device or a pipe
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield temporary
        with _named(str(path)):
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _named(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
