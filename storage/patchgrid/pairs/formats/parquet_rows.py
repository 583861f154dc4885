"""The Parquet reader process: the rows of the file on standard input, written to standard output.

Parquet is read by a large library of C++, and a file that is damaged, or made to, can end the process it is
read in, or fill its memory. Here that ends nothing else. Lines of JSON have some rows each: number, pair as a
list or null, and problems, each with its field. A line that is an object has the file's columns, or says why
rows were omitted, and how many so far.
"""

import json
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from patchgrid.core.text.messages import damaged, shown
from patchgrid.core.types import Pair
from patchgrid.pairs.errors import field_of
from patchgrid.pairs.formats.lines import LIMIT
from patchgrid.pairs.records.plain_json import plain
from patchgrid.pairs.records.reading import Findings, Records, Row

#: Standard input as a file of its own: it may have no name any more.
_FILE = Path("/dev/fd/0")
#: Bytes of rows that are read at a time, and rows at most.
_AT_ONCE, _ROWS = 32 << 20, 512
#: Characters of prompts that are written at a time: row by row takes twice the time.
_LEAST = 1 << 14
#: What reading a damaged file raises, beside pyarrow's own.
_DAMAGE = (OSError, ValueError, OverflowError, AttributeError, TypeError)


def main(text: int, memory: int, columns: dict[str, str]) -> None:
    """Write the rows of the file on standard input, in `memory` bytes of it; for the others see `read`."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most == resource.RLIM_INFINITY or memory < most:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lines: list[tuple[object, ...]] = []
    size, skipped, findings = 0, 0, Findings()
    for number, outcome in read(_FILE, text, columns, findings, _write):
        lines.append((number, *_plain(outcome)))
        size += _LEAST if isinstance(outcome, list) else len(outcome.clean) + len(outcome.corrupted)
        if size >= _LEAST:
            skipped = _write_skipped(findings, skipped)
            _write(lines)
            lines, size = [], 0
    _write_skipped(findings, skipped)
    _write(lines)


def _write_skipped(findings: Findings, before: int) -> int:
    """Report how many rows were skipped, if more than `before`."""
    now = findings.skipped.total()
    if now > before:
        _write({"skipped": findings.skipped})
    return now


def _write(lines: object) -> None:
    sys.stdout.write(f"{_encode(lines)}\n")


def _plain(outcome: Pair | list[str]) -> tuple[object, object]:
    """Return a pair's fields, or each problem with its field."""
    if isinstance(outcome, list):
        return None, [(problem, field_of(problem)) for problem in outcome]
    answers = outcome.correct, outcome.incorrect
    return (outcome.clean, outcome.corrupted, *answers, outcome.id, outcome.spans, outcome.group), None


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=plain).encode


def read(
    path: Path,
    text: int,
    columns: dict[str, str],
    findings: Findings,
    report: Callable[[object], None] = lambda _: None,
) -> Iterator[Row]:
    """Yield each row as a pair or its problems, numbered from 0; all prompts may take up to `text` bytes.

    `report` is told the file's columns.
    """
    number = -1
    records = Records(columns, findings, table=True)
    try:
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16) as file:
            names = file.schema_arrow.names
            report({"columns": names})
            if problems := records.header(names):
                yield None, problems
                return
            texts = [field.name for field in file.schema_arrow if field.type == pa.string()]
        # A text that many rows share is kept once, as the file has it: unpacked it could fill the memory.
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16, read_dictionary=texts) as file:
            for batch in file.iter_batches(batch_size=_batch_size(file), columns=_needed(names, findings)):
                for record in _records(batch):
                    number += 1
                    outcome = record if isinstance(record, list) else records.read(record)
                    if isinstance(outcome, Pair):
                        text -= len(outcome.clean) + len(outcome.corrupted)
                    if text < 0:
                        yield None, [f"too much text for a file of its size, at row {number}"]
                        return
                    if outcome is not None:
                        yield number, outcome
    except (pa.lib.ArrowMemoryError, MemoryError):
        at = f"at row {number + 1}: write smaller row groups and pages"
        yield None, [f"needs too much memory to be read on {at}"]
    # A damaged file can also break what turns its names and values into Python.
    except (pa.lib.ArrowException, *_DAMAGE) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield None, [damaged(number + 1, shown(reason, 120))]


def _batch_size(file: parquet.ParquetFile) -> int:
    """Return the number of rows to read at a time, by the row sizes that the file records."""
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    longest = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=1)
    return max(1, min(_ROWS, _AT_ONCE // max(1, longest)))


def _needed(names: list[str], findings: Findings) -> list[str] | None:
    """Return the columns to read; None: all, where a name could be taken for a part of a struct."""
    assert findings.layout is not None
    needed = [name for name in names if name in findings.layout.known]
    return None if any("." in name for name in names) else needed


def _records(batch: Any) -> Iterator[dict[str, object] | list[str]]:
    """Yield the rows of a batch, or for a row whose text is not UTF-8 or too long its problem."""
    columns = [_Column(column) for column in batch.columns]
    names = batch.schema.names
    for row in range(batch.num_rows):
        try:
            yield {name: column[row] for name, column in zip(names, columns, strict=True)}
        except UnicodeDecodeError as error:
            yield [f"not UTF-8: byte 0x{error.object[error.start]:02x}"]
        except _LongTextError as error:
            yield [str(error)]


class _LongTextError(Exception):
    """A text that is too long."""


class _Column:
    """A column of a batch, whose values become Python's one by one; a text that is shared does once."""

    def __init__(self, column: Any) -> None:
        self._column = column
        self._known: dict[int, object] = {}
        self._shared = isinstance(column, pa.DictionaryArray)
        self._places = column.indices.to_pylist() if self._shared else range(len(column))
        self._values = column.dictionary if self._shared else column
        self._all: list[object] | None = None
        if not self._shared:
            with suppress(UnicodeDecodeError):
                self._all = column.to_pylist()

    def __getitem__(self, row: int) -> object:
        if self._all is not None:
            return self._all[row]
        place = self._places[row]
        if place is None:
            return None
        if not self._shared:
            return self._values[place].as_py()
        if not 0 <= place < len(self._values):
            raise ValueError("a value is not in its column's dictionary")
        if place not in self._known:
            value = self._values[place]
            size = value.as_buffer().size
            if size > LIMIT:
                raise _LongTextError(f"a text is {size:,} bytes long; the limit is {LIMIT:,}")
            self._known[place] = value.as_py()
        return self._known[place]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
