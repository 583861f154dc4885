"""Detecting a pair file's format, by its content first, then by its name."""

import codecs
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from patchgrid.pairs.errors import PairFileError
from patchgrid.pairs.formats import csv_file, json_file, jsonl, parquet
from patchgrid.pairs.formats.lines import LIMIT
from patchgrid.pairs.records import jsonio
from patchgrid.pairs.records.layouts import LAYOUTS
from patchgrid.pairs.records.reading import Reader


@dataclass(frozen=True, slots=True)
class Format:
    """A file format and its reader."""

    #: Its name.
    name: str
    #: The function that reads it.
    read: Reader
    #: `line` or `row`.
    unit: str = "line"


JSONL = Format("JSON Lines", jsonl.read)
CSV = Format("CSV", csv_file.read)
JSON = Format("JSON", json_file.read_list)
AUTO_CIRCUIT = Format("auto-circuit JSON", json_file.read_auto_circuit)
PARQUET = Format("Parquet", parquet.read, unit="row")

_BY_ENDING = {
    ".jsonl": JSONL,
    ".ndjson": JSONL,
    ".json": JSONL,
    ".csv": CSV,
    ".parquet": PARQUET,
    ".pq": PARQUET,
}
_OTHER_KINDS = {
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: unpack it first",
    codecs.BOM_UTF16_LE: "UTF-16 text: save it as UTF-8",
    codecs.BOM_UTF16_BE: "UTF-16 text: save it as UTF-8",
}
_PROMPTS_KEY = re.compile(rb'"prompts"\s*:')
_SPREAD_OBJECT = re.compile(rb'\{\s*\n\s*"')
_COLUMNS = frozenset().union(*(layout.known for layout in LAYOUTS)) - {"label", "id"}


def find_format(path: Path, name: str, chosen_columns: Collection[str] = ()) -> Format:
    """Return the format of the file at `path`; raises `PairFileError`, calling it `name`, if unknown.

    `chosen_columns` are columns that the file has.
    """
    with path.open("rb") as stream:
        head = _head(stream)
    by_ending = _BY_ENDING.get(Path(name).suffix.lower())
    if not head:
        raise PairFileError(
            f"{name}: is empty" if path.stat().st_size == 0 else f"{name}: has no pairs, only blank lines"
        )
    for start, what in _OTHER_KINDS.items():
        if head.startswith(start):
            raise PairFileError(f"{name}: is {what}")
    if head.startswith(b"PAR1"):
        return PARQUET
    if by_ending is PARQUET:
        raise PairFileError(f"{name}: is not a Parquet file: it does not begin with PAR1")
    kind = _text_format(head, name, frozenset(chosen_columns)) or by_ending
    if kind is None:
        raise PairFileError(f"{name}: unknown format: its first line is not JSON, JSON Lines, CSV or Parquet")
    return kind


def _head(stream: BinaryIO) -> bytes:
    """Return up to `LIMIT` bytes after white space and the byte order mark."""
    head = stream.read(LIMIT).removeprefix(codecs.BOM_UTF8).lstrip()
    while not head:
        data = stream.read(LIMIT)
        if not data:
            return b""
        head = data.lstrip()
    return head


def _text_format(head: bytes, name: str, chosen_columns: frozenset[str]) -> Format | None:
    if head.startswith(b"["):
        return JSON
    first = head.split(b"\n", 1)[0].decode(errors="replace")
    if head.startswith(b"{"):
        return _json_format(head, first, name)
    columns = {column.strip().strip('"') for column in re.split("[,;\t]", first)}
    return CSV if columns & (_COLUMNS | chosen_columns) else None


def _json_format(head: bytes, first: str, name: str) -> Format:
    try:
        record = jsonio.parse(first)
    except ValueError:
        # The object continues after its first line, or that line is broken.
        if _PROMPTS_KEY.search(head):
            return AUTO_CIRCUIT
        if _SPREAD_OBJECT.match(head):
            raise PairFileError(
                f"{name}: is one JSON object over several lines: write one pair per line (JSON Lines)"
            ) from None
        return JSONL
    return AUTO_CIRCUIT if isinstance(record, dict) and "prompts" in record else JSONL
