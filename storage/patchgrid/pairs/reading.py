"""What every reader of pair files gives."""

from collections.abc import Callable, Iterator
from pathlib import Path

from patchgrid.engine.types import Pair

#: A line number (from 1; of a table's rows from 0; None: the whole file), and the pair or its problems.
Row = tuple[int | None, Pair | list[str]]
#: Told what a user should know about how the file is read.
Note = Callable[[str], None]
#: Opens a file and gives its rows in order, bad ones included.
Reader = Callable[[Path, Note], Iterator[Row]]
