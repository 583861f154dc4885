"""Errors of pair files, collected line by line and raised once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from patchgrid.core.errors import PatchgridError

#: Bad lines shown in full; the rest are counted.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class BadLine:
    """One error in one line of a pair file."""

    #: Line from 1, row of a table from 0, or None: the file as a whole.
    number: int | None
    #: What the number counts: `line` or `row`.
    unit: str
    #: The file's name of the field, or None.
    field: str | None
    #: What is wrong.
    problem: str


class PairFileError(PatchgridError, ValueError):
    """A pair file that cannot be used: one message for the file, or one per bad line."""

    def __init__(self, message: str, lines: Sequence[BadLine] = ()) -> None:
        super().__init__(message)
        #: The errors of the lines in the message; empty: the file as a whole.
        self.lines = tuple(lines)


class Problem(str):
    """An error of a pair, with its field."""

    __slots__ = ("field",)
    #: Whether a field is missing or unknown, as in every line of a file with wrong columns.
    of_columns = False
    #: The field by the file's own name for it, or None.
    field: str | None

    def __new__(cls, text: str, field: str | None = None) -> Self:
        """Attach the field to the text."""
        error = super().__new__(cls, text)
        error.field = field
        return error


class BadLines:
    """The bad lines of one file: the first `SHOWN` in full, and a count."""

    def __init__(self, name: str, unit: str = "line") -> None:
        self._name = name
        self._unit = unit
        self._shown: list[str] = []
        self._lines: list[BadLine] = []
        #: Column errors: the index among the shown errors, and the number of lines.
        self._columns: dict[tuple[str, ...], tuple[int, int]] = {}
        self.count = 0

    def add(self, number: int | None, problems: Sequence[str]) -> None:
        """Add an error of line `number` (None: of the file as a whole).

        The same missing or unknown field in many lines is shown once, with the number of lines.
        """
        self.count += 1
        if all(isinstance(each, Problem) and each.of_columns for each in problems):
            alike = tuple(map(str, problems))
            place, before = self._columns.get(alike, (len(self._shown), 0))
            if before or len(self._shown) < SHOWN:
                self._columns[alike] = place, before + 1
            if before:
                return
        if len(self._shown) < SHOWN:
            self._shown.append(f"{self._place(number)}: {'; '.join(problems)}")
            self._lines += [BadLine(number, self._unit, field_of(each), str(each)) for each in problems]

    def raise_if_any(self) -> None:
        """Raise `PairFileError` with all bad lines, if there were any."""
        if not self.count:
            return
        shown = list(self._shown)
        for place, count in self._columns.values():
            if count > 1:
                shown[place] += f" ({count - 1:,} more {self._unit}{'' if count == 2 else 's'} like it)"
        more = self.count - len(shown) - sum(count - 1 for _, count in self._columns.values())
        tail = [f"and {more:,} more bad {self._unit}{'' if more == 1 else 's'}"] if more else []
        raise PairFileError("\n".join(shown + tail), self._lines)

    def _place(self, number: int | None) -> str:
        if number is None:
            return self._name
        return f"{self._name}:{number}" if self._unit == "line" else f"{self._name}: {self._unit} {number}"


def field_of(problem: str) -> str | None:
    """Return a problem's field, or None."""
    return problem.field if isinstance(problem, Problem) else None


@contextmanager
def os_errors_named(name: str) -> Iterator[None]:
    """Translate the system's errors to a `PairFileError` about the file `name`."""
    try:
        yield
    except FileNotFoundError:
        raise PairFileError(f"{name}: no such file") from None
    except PermissionError:
        raise PairFileError(f"{name}: permission denied") from None
    except OSError as error:
        raise PairFileError(f"{name}: cannot be read: {error.strerror or error}") from error
