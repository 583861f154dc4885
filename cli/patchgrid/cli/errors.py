"""What the command line refuses by itself, and how every error becomes one line and an exit code."""

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

from patchgrid.api.pictures.errors import OutputError as OutputError
from patchgrid.core.errors import PatchgridError

#: Exit codes of commands; `UNAVAILABLE` (69) is the engine's, for every error that has it.
DONE, FAILED, REFUSED, SOME_FAILED = 0, 1, 2, 3
#: As timeout(1) has it, and shells for Ctrl-C and for a reader that closed the pipe.
OUT_OF_TIME, INTERRUPTED, PIPE_CLOSED = 124, 130, 141
#: Set to 1, it shows the traceback of a defect.
DEBUG = "PATCHGRID_DEBUG"
#: A password in a URL, which no message may show, not even that the URL cannot be read.
_PASSWORD = re.compile(r"(://[^:/@\s]*:)\S*@")


class UsageError(PatchgridError):
    """Options or arguments that do not fit together."""


class _Shown(click.ClickException):
    """An error as click prints it: `Error: ...` on stderr."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(_PASSWORD.sub(r"\1***@", message))
        self.exit_code = exit_code  # type: ignore[misc]


@contextmanager
def shown_in_one_line() -> Iterator[None]:
    """Turn whatever a command raises into a message and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except (click.exceptions.Exit, click.ClickException, click.Abort):
        raise
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            click.echo(err=True)  # ends the terminal's ^C
        raise _Shown("stopped by Ctrl-C; the same command can be run again", FAILED) from None
    except PatchgridError as error:
        _flush()
        raise _Shown(str(error), error.exit_code) from error
    except BrokenPipeError:
        _drop_output()
        raise click.exceptions.Exit(PIPE_CLOSED) from None
    except Exception as error:
        # What could not be written is dropped: Python would complain about it at the very end.
        if isinstance(error, OSError) and error.filename is None:
            _drop_output()
        if os.environ.get(DEBUG) == "1":
            raise
        told, code = (
            (_system_error(error), REFUSED) if isinstance(error, OSError) else (_defect(error), FAILED)
        )
        raise _Shown(told, code) from error


def _flush() -> None:
    """Write what is still buffered, or drop it."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()


def _drop_output() -> None:
    """Send what is still buffered nowhere: the reader of stdout is gone."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _system_error(error: OSError) -> str:
    lost = error.filename is None and error.errno in (errno.ENOSPC, errno.EBADF, errno.EIO)
    where = "standard output" if lost else error.filename
    reason = error.strerror or str(error) or type(error).__name__
    return f"{where}: {reason}" if where is not None else reason


def _defect(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    what = type(error).__name__ + (f": {lines[0]}" if lines else "")
    return f"a defect in patchgrid ({what}); set {DEBUG}=1 and run again to see where, and please report it"
