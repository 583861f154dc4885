"""Parquet: the columns of a JSON Lines record, read batch by batch; needs pyarrow."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from patchgrid.engine.types import Pair
from patchgrid.pairs import jsonio
from patchgrid.pairs.errors import PairFileError, Problem
from patchgrid.pairs.lines import LIMIT
from patchgrid.pairs.parquetpages import TooMuchError, batch_size, most_text
from patchgrid.pairs.reading import Note, Row
from patchgrid.pairs.records import Fields, column_problems, make_reader
from patchgrid.pairs.wording import shown, unknown

# The column in which pandas keeps its index.
_FIELDS = Fields(ignored=frozenset({"__index_level_0__"}))
_read_record = make_reader(_FIELDS)


def read(path: Path, note: Note) -> Iterator[Row]:  # noqa: ARG001 (the readers share one signature)
    """Give each row as a pair or its problems, numbered from 0."""
    pyarrow, parquet = _pyarrow()
    number = 0
    try:
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16) as file:
            if problems := _column_problems(file.schema_arrow.names):
                yield None, problems
                return
            texts = [field.name for field in file.schema_arrow if field.type == pyarrow.string()]
            rows = batch_size(path, file.metadata)
        # A text that many rows share is kept once, as the file has it: unpacked it could fill the memory.
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16, read_dictionary=texts) as file:
            left = most_text(path)
            for batch in file.iter_batches(batch_size=rows):
                for record in _records(batch, pyarrow):
                    outcome = record if isinstance(record, list) else _pair(record)
                    if isinstance(outcome, Pair):
                        left -= len(outcome.clean) + len(outcome.corrupted)
                    if left < 0:
                        yield None, [f"comes to more text than a file of its size may, at row {number}"]
                        return
                    yield number, outcome
                    number += 1
    except TooMuchError as error:
        yield None, [str(error)]
    # A damaged file can also break what turns its names and values into Python.
    except (pyarrow.lib.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield None, [f"damaged or cut short as a Parquet file, at row {number}: {shown(reason, 120)}"]


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise PairFileError(
            "reading Parquet needs pyarrow: install it with pip install 'patchgrid[parquet]'"
        ) from None
    return pa, pq


def _column_problems(names: list[str]) -> list[str]:
    strange = [name for name in names if name not in _FIELDS.ignored]
    return column_problems(names, _FIELDS.required, _FIELDS.named) + unknown(strange, _FIELDS.named, "column")


def _records(batch: Any, pyarrow: Any) -> Iterator[dict[str, object] | list[str]]:
    """Give the rows of a batch, or for a row whose text is not UTF-8 or too long its problem."""
    columns = [_Column(column, pyarrow) for column in batch.columns]
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

    def __init__(self, column: Any, pyarrow: Any) -> None:
        self._column = column
        self._known: dict[int, object] = {}
        self._shared = isinstance(column, pyarrow.DictionaryArray)
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
                raise _LongTextError(f"a text is {size:,} bytes long, the most is {LIMIT:,}")
            self._known[place] = value.as_py()
        return self._known[place]


def _pair(record: dict[str, object]) -> Pair | list[str]:
    try:
        return _read_record(record | {"spans": _spans(record.get("spans"))})
    except ValueError as error:
        return [Problem(f"'spans' {error}", "spans")]


def _spans(value: object) -> object:
    """Bring a struct (absent names are null), a map (name, bounds) or JSON text to one shape."""
    if isinstance(value, str):
        return jsonio.parse(value) if value.strip() else None
    if isinstance(value, list) and all(isinstance(item, tuple) for item in value):
        return dict(value)
    if isinstance(value, dict):
        return {name: bounds for name, bounds in value.items() if bounds is not None}
    return value
