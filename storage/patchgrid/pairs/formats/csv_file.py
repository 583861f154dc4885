"""CSV: one pair per row, its columns named by the first row."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from patchgrid.pairs.formats.lines import LIMIT, LongLine, lines, undecodable
from patchgrid.pairs.records.reading import Findings, Records, Row


def read(path: Path, columns: Mapping[str, str], findings: Findings) -> Iterator[Row]:
    """Yield each row as a pair or its problems, numbered by the line it starts on."""
    records = Records(columns, findings, table=True)
    with path.open("rb") as stream:
        rows = _rows(stream)
        for start, header, problems in rows:
            if wrong := problems or _separators(header) or records.header(header):
                yield start, wrong
                return
            break
        for start, row, problems in rows:
            if not problems and len(row) != len(header):
                problems = [f"{len(row)} cells, but the header has {len(header)}"]
            outcome = problems or records.read(dict(zip(header, row, strict=True)))
            if outcome is not None:
                yield start, outcome


def _rows(stream: BinaryIO) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yield each row that is not blank: the line it starts on, its cells, its errors."""
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
    """The lines of a CSV reader, and the errors of the current row."""

    def __init__(self, stream: BinaryIO) -> None:
        self._lines = lines(stream)
        self._number = 0
        self._size = 0
        self.problems: list[str] = []

    def start_record(self) -> int:
        """Start a new row and return the number of its first line."""
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
            # The row is read to its end, so that its other lines are not taken for rows.
            self.problems.append(undecodable(error))
            return line.decode(errors="replace")

    def _give_up(self, problem: str) -> NoReturn:
        """Abandon the row: the reader starts the next one on the next line."""
        self.problems.append(problem)
        raise csv.Error(problem)


def _csv_problem(message: str) -> str:
    if "field limit" in message:
        limit = csv.field_size_limit()
        return f"a cell of more than {limit:,} characters: close its quote, or use JSON Lines"
    if "unexpected end of data" in message:
        return "a quote is never closed"
    if "new-line character" in message:
        return "a carriage return in the middle of a line: end lines with LF or CRLF, or quote the cell"
    return f"broken CSV: {message}"


def _separators(header: Sequence[str]) -> list[str]:
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            return [f"the columns are separated by {name}: separate them by commas"]
    return []
