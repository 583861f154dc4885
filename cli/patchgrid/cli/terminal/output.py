"""Output of exports: standard output, or a file that is written completely or not at all."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from patchgrid.cli.errors import OutputError
from patchgrid.core.errors import PatchgridError
from patchgrid.core.files import written_whole


@contextmanager
def open_output(path: str | None) -> Iterator[BinaryIO]:
    """Yield a file to write bytes to; on any error an existing file stays unchanged.

    Raises
    ------
    OutputError
        The folder does not exist or is not writable, or the disk is full.
    """
    if path is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if Path(path).is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")
    try:
        with written_whole(Path(path)) as temporary, temporary.open("wb") as file:
            yield file
    except PatchgridError:
        raise  # of what is written there: a lost connection is an OSError too
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
