"""What can be wrong with a pair file, collected line by line and raised once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from patchgrid.core.errors import PatchgridError

#: Bad lines that are told in full; the rest are counted.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class BadLine:
    """One thing that is wrong with one line of a pair file."""

    #: Line from 1, row of a table from 0, or None: the file as a whole.
    number: int | None
    #: What the number counts: `line` or `row`.
    unit: str
    #: The pair's field that it is about, by the file's own name for it, or None.
    field: str | None
    #: What is wrong.
    problem: str


class PairFileError(PatchgridError):
    """A pair file that cannot be used: one line of message for the file, or one for each bad line."""

    def __init__(self, message: str, lines: Sequence[BadLine] = ()) -> None:
        super().__init__(message)
        #: What is wrong line by line, of the lines that the message names; empty: the file as a whole.
        self.lines = tuple(lines)


class Problem(str):
    """What is wrong with a pair, in words, and with which of its fields."""

    __slots__ = ("field",)
    #: Whether it is about a field that is missing or unknown, as in every line of a file with wrong columns.
    of_columns = False
    #: The field by the file's own name for it, or None.
    field: str | None

    def __new__(cls, text: str, field: str | None = None) -> Self:
        """Make the words remember their field."""
        made = super().__new__(cls, text)
        made.field = field
        return made


class BadLines:
    """The bad lines of one file: the first `SHOWN` in full and a count, however many there are."""

    def __init__(self, name: str, unit: str = "line") -> None:
        self._name = name
        self._unit = unit
        self._shown: list[str] = []
        self._lines: list[BadLine] = []
        #: What is wrong with columns: its place among those shown, and the number of lines it is wrong with.
        self._columns: dict[tuple[str, ...], tuple[int, int]] = {}
        self.count = 0

    def add(self, number: int | None, problems: Sequence[str]) -> None:
        """Note what is wrong with line `number` (None: with the file as a whole).

        The same fields missing or unknown in many lines are told once, with the number of lines.
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
                shown[place] += f" ({count - 1:,} more {self._unit}{'' if count == 2 else 's'} alike)"
        more = self.count - len(shown) - sum(count - 1 for _, count in self._columns.values())
        tail = [f"and {more:,} more bad {self._unit}{'' if more == 1 else 's'}"] if more else []
        raise PairFileError("\n".join(shown + tail), self._lines)

    def _place(self, number: int | None) -> str:
        if number is None:
            return self._name
        return f"{self._name}:{number}" if self._unit == "line" else f"{self._name}: {self._unit} {number}"


def field_of(problem: str) -> str | None:
    """Give the field that a problem is about, or None."""
    return problem.field if isinstance(problem, Problem) else None


@contextmanager
def os_errors_named(name: str) -> Iterator[None]:
    """Turn the system's errors into a `PairFileError` about the file called `name`."""
    try:
        yield
    except FileNotFoundError:
        raise PairFileError(f"{name}: no such file") from None
    except PermissionError:
        raise PairFileError(f"{name}: no permission to read it") from None
    except OSError as error:
        raise PairFileError(f"{name}: cannot be read: {error.strerror or error}") from error
