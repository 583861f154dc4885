"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield an empty file beside `path` to write to: moved there at the end, removed on any error.

    Links are followed; a device or a pipe is written to directly. Raises OSError.
    """
    target = path.resolve()
    if target.exists() and not (target.is_file() or target.is_dir()):
        yield target
        return
    temporary = target.with_name(f".{target.name}.{token_hex(4)}.part")
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
