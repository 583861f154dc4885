"""Usage errors, and turning every error into one line and an exit code."""

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
#: As in timeout(1), and in shells for Ctrl-C and for a closed pipe.
OUT_OF_TIME, INTERRUPTED, PIPE_CLOSED = 124, 130, 141
#: Set to 1 to show the traceback of a bug.
DEBUG = "PATCHGRID_DEBUG"
#: A password in a URL, which no message may show, even if the URL is invalid.
_PASSWORD = re.compile(r"(://[^:/@\s]*:)\S*@")


class UsageError(PatchgridError, ValueError):
    """Options or arguments that cannot be combined."""


class _Shown(click.ClickException):
    """An error as click prints it: `Error: ...` on stderr."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(_PASSWORD.sub(r"\1***@", message))
        self.exit_code = exit_code  # type: ignore[misc]


@contextmanager
def shown_in_one_line() -> Iterator[None]:
    """Turn any exception of a command into a message and an exit code."""
    try:
        yield
        sys.stdout.flush()
    except (click.exceptions.Exit, click.ClickException, click.Abort):
        raise
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            click.echo(err=True)  # ends the terminal's ^C
        raise _Shown("stopped by Ctrl-C; the command can be run again", FAILED) from None
    except PatchgridError as error:
        _flush()
        raise _Shown(str(error), error.exit_code) from error
    except BrokenPipeError:
        _drop_output()
        raise click.exceptions.Exit(PIPE_CLOSED) from None
    except Exception as error:
        # Drop what could not be written: Python would complain about it at exit.
        if isinstance(error, OSError) and error.filename is None:
            _drop_output()
        if os.environ.get(DEBUG) == "1":
            raise
        message, code = (
            (_system_error(error), REFUSED) if isinstance(error, OSError) else (_defect(error), FAILED)
        )
        raise _Shown(message, code) from error


def _flush() -> None:
    """Write what is still buffered, or drop it."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()


def _drop_output() -> None:
    """Discard the buffer: the reader of stdout is gone."""
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
    return f"a bug in patchgrid ({what}); run again with {DEBUG}=1 for the traceback, and please report it"
