"""Rows as JSON lines, CSV or Parquet, streamed."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from patchgrid.core.packages import require
from patchgrid.core.plain import plain
from patchgrid.core.sites import INDEX_FIELDS

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("jsonl", "csv", "parquet")
#: Rows handed to the file at a time.
_BATCH = 10_000
_LINE_END = "\r\n"

Row = Mapping[str, Any]
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode


def in_parts(
    form: str, fields: Sequence[str], rows: Iterable[Row], *, text_positions: bool = False
) -> Iterator[bytes]:
    """Yield a file of the rows part by part; `text_positions`: positions are names of spans."""
    if form == "parquet":
        return _parquet_parts(fields, rows, text_positions)
    lines = _json_lines if form == "jsonl" else _csv_lines
    return (text.encode() for text in lines(fields, rows))


def check_format(form: str) -> None:
    """Refuse a format that needs a package which is not installed."""
    if form == "parquet":
        require("parquet", "Parquet")


def write_rows(
    file: BinaryIO, form: str, fields: Sequence[str], rows: Iterable[Row], *, text_positions: bool = False
) -> int:
    """Write the rows and return their number; `text_positions`: positions are names of spans."""
    counter = _Counter(rows)
    check_format(form)
    file.writelines(in_parts(form, fields, counter, text_positions=text_positions))
    return counter.count


class _Counter:
    """Counts what passes through it."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rest = iter(rows)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _json_lines(_fields: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    for batch in _batches(rows):
        yield "".join(f"{_json(row)}\n" for row in batch)


def _json(row: Row) -> str:
    try:
        return _encode(row)
    except (TypeError, ValueError):  # bytes or infinity, from `results sql`
        return _encode({name: _storable(value) for name, value in row.items()})


def _storable(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else plain(value)


def _csv_lines(fields: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    text = io.StringIO()
    writer = csv_writer(text)
    writer.writerow(fields)
    for batch in _batches(rows):
        writer.writerows([_csv_cell(row[field]) for field in fields] for row in batch)
        yield _taken(text)
    yield _taken(text)


def csv_writer(text: io.StringIO) -> Any:
    """Return a writer of CSV rows, each on one line, whatever its cells contain.

    A lone carriage return ends a line for most readers: Python's writer quotes it only where it is a part of
    its own line ends.
    """
    return csv.writer(_Lines(text), lineterminator=_LINE_END)


class _Lines:
    """Takes rows with the writer's line ends, and writes them with newlines."""

    def __init__(self, text: io.StringIO) -> None:
        self._text = text

    def write(self, row: str) -> int:
        return self._text.write(row.removesuffix(_LINE_END) + "\n")


def _taken(text: io.StringIO) -> str:
    value = text.getvalue()
    text.seek(0)
    text.truncate()
    return value


def _csv_cell(value: object) -> object:
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False)
    return value.hex() if isinstance(value, bytes) else value


def _parquet_parts(fields: Sequence[str], rows: Iterable[Row], text_positions: bool) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(field, _arrow_type(field, text_positions)) for field in fields])
    convert = {field: _as_text for field in fields if schema.field(field).type == pa.string()}
    sink = io.BytesIO()
    with pq.ParquetWriter(_Forward(sink), schema) as writer:
        for batch in _batches(rows):
            columns = [_column(batch, field, convert.get(field)) for field in fields]
            arrays = [
                pa.array(column, type=schema.field(field).type)
                for column, field in zip(columns, fields, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            yield _drained(sink)
    yield _drained(sink)


class _Forward(io.RawIOBase):
    """A file that only goes forward: what was written can be taken out behind the writer's back."""

    def __init__(self, sink: io.BytesIO) -> None:
        self._sink, self._at = sink, 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        size = self._sink.write(data)
        self._at += size
        return size


def _drained(sink: io.BytesIO) -> bytes:
    data = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return data


def _column(batch: Sequence[Row], field: str, convert: Callable[[Any], Any] | None) -> list[Any]:
    values = [row[field] for row in batch]
    return values if convert is None else [convert(value) for value in values]


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def _arrow_type(field: str, text_positions: bool) -> "pa.DataType":
    """The type of a field of an export; a pair's name is text, as row numbers and ids may be mixed."""
    import pyarrow as pa

    if field in ("layer", *INDEX_FIELDS) or (field == "position" and not text_positions):
        return pa.int32()
    if field in ("n", "exact_n"):
        return pa.int64()
    if field == "shrunk":
        return pa.bool_()
    if field in ("pair", "component", "site", "state", "error", "position", "edge"):
        return pa.string()
    return pa.list_(pa.string()) if field.endswith("tokens") else pa.float64()
