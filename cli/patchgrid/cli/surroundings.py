"""What the shell hands over: arguments, variables and streams that no command can work with."""

import io
import os
import sys
from collections.abc import Sequence

from patchgrid.cli.errors import UsageError

#: What the names of our own variables begin with.
_OURS = "PATCHGRID_"


def check_text(arguments: Sequence[str]) -> None:
    """Refuse arguments and variables of ours that are not UTF-8, or hold what no argument can."""
    named = [(f"argument {number}", text) for number, text in enumerate(arguments, start=1)]
    named += [(name, value) for name, value in os.environ.items() if name.startswith(_OURS)]
    for name, text in named:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{name} is not valid UTF-8: {text!a}") from None
        if "\0" in text:
            raise UsageError(f"{name} holds a null character: {text!a}")


def open_streams() -> None:
    """Open standard streams that are closed: else the next file, a database perhaps, would be taken for one.

    What is written to a closed stdout fails, as it should; words for a closed stderr are dropped.
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
