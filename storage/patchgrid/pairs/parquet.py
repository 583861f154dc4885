"""Parquet: the columns of a JSON Lines record, read batch by batch; needs pyarrow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from patchgrid.engine.types import Pair
from patchgrid.pairs import jsonio
from patchgrid.pairs.errors import PairFileError, Problem
from patchgrid.pairs.reading import Note, Row
from patchgrid.pairs.records import Fields, column_problems, make_reader
from patchgrid.pairs.wording import shown, unknown

_BATCH = 512
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
            for batch in file.iter_batches(batch_size=_BATCH):
                for record in _records(batch):
                    yield number, record if isinstance(record, list) else _pair(record)
                    number += 1
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


def _records(batch: Any) -> Iterator[dict[str, object] | list[str]]:
    """Give the rows of a batch, or for a row whose text is not UTF-8 its problem."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for row in range(batch.num_rows):
            try:
                yield batch.slice(row, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield [f"not UTF-8: byte 0x{error.object[error.start]:02x}"]


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
