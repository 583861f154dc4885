"""CSV: our own columns, or EAP-IG's with token ids, or EAP-IG's greater-than with start years."""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from patchgrid.engine.types import Pair, TokenText
from patchgrid.pairs import jsonio
from patchgrid.pairs.errors import Problem
from patchgrid.pairs.lines import LIMIT, LongLine, lines, undecodable
from patchgrid.pairs.reading import Note, Row
from patchgrid.pairs.records import Fields, column_problems, make_reader
from patchgrid.pairs.wording import shown, unknown

_TOKEN_OBJECT = re.compile(r'\s*\{\s*"token"')
_YEARS = tuple(TokenText(f"{year:02d}") for year in range(100))
# EAP-IG's files are saved with pandas' index column and a second corrupted prompt.
_EAP_EXTRAS = frozenset({"", "corrupted_hard"})
_GREATER_THAN_COLUMNS = frozenset({"clean", "corrupted", "correct_idx"})
_GREATER_THAN_NOTE = (
    "no incorrect_idx column, so correct_idx is read as in EAP-IG's greater-than file: the start year's two "
    "digits YY, not a token id; correct answers are the two-digit years above YY, incorrect ones 00 to YY"
)


@dataclass(frozen=True, slots=True)
class _Layout:
    """One set of columns and what they mean."""

    #: Columns that may be there, and those that must.
    fields: Fields
    #: How the text of a cell is read, for columns that are not plain text; raises `ValueError`.
    cells: Mapping[str, Callable[[str], object]]
    #: Turns a row's values by column into a pair or its problems.
    read: Callable[[Mapping[str, object]], Pair | list[str]]


def read(path: Path, note: Note) -> Iterator[Row]:
    """Give each row as a pair or its problems, numbered by the line it starts on."""
    with path.open("rb") as stream:
        records = _records(stream)
        for start, header, problems in records:
            layout = _layout(header)
            problems = problems or _header_problems(header, layout.fields)
            if problems:
                yield start, problems
                return
            if layout is _GREATER_THAN:
                note(_GREATER_THAN_NOTE)
            break
        for start, cells, problems in records:
            yield start, problems or _pair(cells, header, layout)


def _records(stream: BinaryIO) -> Iterator[tuple[int, list[str], list[str]]]:
    """Give each row that is not blank: the line it starts on, its cells, what is wrong with it."""
    source = _Lines(stream)
    rows = csv.reader(source, strict=True)
    while True:
        start = source.start_record()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield start, [], source.problems or [_csv_problem(str(error))]
            continue
        if source.problems or len(cells) > 1 or "".join(cells).strip():
            yield start, cells, source.problems


class _Lines(Iterator[str]):
    """The lines a CSV reader asks for, and what was wrong with those of the current row."""

    def __init__(self, stream: BinaryIO) -> None:
        self._lines = lines(stream)
        self._number = 0
        self._size = 0
        self.problems: list[str] = []

    def start_record(self) -> int:
        """Begin a new row and give the number of its first line."""
        self._size = 0
        self.problems = []
        return self._number + 1

    def __next__(self) -> str:
        self._number, line = next(self._lines)
        if isinstance(line, LongLine):
            self._give_up(line.problem)
        self._size += len(line)
        if self._size > LIMIT:
            self._give_up(f"the row is longer than {LIMIT:,} bytes")
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            # The row goes on to its end, so that the lines behind it are not taken for rows.
            self.problems.append(undecodable(error))
            return line.decode(errors="replace")

    def _give_up(self, problem: str) -> NoReturn:
        """Leave the row: the reader begins the next one on the next line."""
        self.problems.append(problem)
        raise csv.Error(problem)


def _csv_problem(message: str) -> str:
    if "field limit" in message:
        limit = csv.field_size_limit()
        return f"a cell of more than {limit:,} characters: close its quote, or use JSON Lines"
    if "unexpected end of data" in message:
        return "a quote is opened and never closed"
    if "new-line character" in message:
        return "a carriage return in the middle of a line: end lines with LF or CRLF, or quote the cell"
    return f"broken CSV: {message}"


def _layout(header: Sequence[str]) -> _Layout:
    columns = set(header)
    if columns - _EAP_EXTRAS == _GREATER_THAN_COLUMNS:
        return _GREATER_THAN
    return _EAP if columns & {"correct_idx", "incorrect_idx"} else _OWN


def _header_problems(header: Sequence[str], fields: Fields) -> list[str]:
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            return [f"the columns are separated by {name}: separate them by commas"]
    required = _GREATER_THAN_COLUMNS if fields is _GREATER_THAN.fields else fields.required
    strange = [name for name in header if name not in fields.ignored]
    return column_problems(header, required, fields.named) + unknown(strange, fields.named, "column")


def _pair(cells: Sequence[str], header: Sequence[str], layout: _Layout) -> Pair | list[str]:
    if len(cells) != len(header):
        return [f"{len(cells)} cells where the header has {len(header)}"]
    record: dict[str, object] = dict(zip(header, cells, strict=True))
    problems: list[str] = []
    for column, parse in layout.cells.items():
        try:
            if column in record:
                record[column] = parse(str(record[column]))
        except ValueError as error:
            problems.append(Problem(f"{column!r} {error}", column))
    return problems or layout.read(record)


def _text_or_none(cell: str) -> str | None:
    return cell or None


def _answers(cell: str) -> object:
    """Read a text, or a list or `{"token": ...}` written as JSON."""
    if not cell.startswith("[") and not _TOKEN_OBJECT.match(cell):
        return cell
    try:
        return jsonio.parse(cell)
    except ValueError as error:
        hint = 'write the text itself as ["["]' if cell.startswith("[") else "as JSON"
        raise ValueError(f"begins like a JSON list but is not one ({error}); {hint}") from None


def _spans(cell: str) -> object:
    return jsonio.parse(cell) if cell.strip() else None


def _token_ids(cell: str) -> object:
    """Read a token id, or a list of them written as JSON."""
    if not cell.strip():
        raise ValueError("is empty")
    try:
        value = jsonio.parse(cell)
    except ValueError:
        value = None
    ids = value if isinstance(value, list) else [value]
    if not all(isinstance(item, int) and not isinstance(item, bool) for item in ids):
        raise ValueError(f"must be a token id or a list of token ids, not {shown(cell)}")
    return value


def _year(cell: str) -> int:
    if not cell.strip():
        raise ValueError("is empty")
    if not re.fullmatch(r"\s*[0-9]{1,2}\s*", cell):
        rule = "must be the start year's two digits, 0 to 99"
        raise ValueError(f"{rule}, not {shown(cell)}; for token ids add a column incorrect_idx")
    if int(cell) == 99:
        raise ValueError("is 99, and no two-digit year is above it")
    return int(cell)


def _read_greater_than(record: Mapping[str, object]) -> Pair | list[str]:
    year = record["correct_idx"]
    assert isinstance(year, int)
    prompts = {name: record[name] for name in ("clean", "corrupted")}
    return _read_own(prompts | {"correct": _YEARS[year + 1 :], "incorrect": _YEARS[: year + 1]})


_OWN_FIELDS = Fields()
_EAP_FIELDS = Fields(
    correct="correct_idx", incorrect="incorrect_idx", id=None, spans=None, ignored=_EAP_EXTRAS
)
_GREATER_THAN_FIELDS = Fields(
    correct="correct_idx", incorrect="correct_idx", id=None, spans=None, ignored=_EAP_EXTRAS
)
_read_own = make_reader(_OWN_FIELDS)
_OWN = _Layout(
    _OWN_FIELDS,
    {"id": _text_or_none, "correct": _answers, "incorrect": _answers, "spans": _spans},
    _read_own,
)
_EAP = _Layout(
    _EAP_FIELDS, {"correct_idx": _token_ids, "incorrect_idx": _token_ids}, make_reader(_EAP_FIELDS)
)
_GREATER_THAN = _Layout(_GREATER_THAN_FIELDS, {"correct_idx": _year}, _read_greater_than)
