"""Writing pairs in our layout to JSON Lines, CSV or Parquet, completely or not at all."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from patchgrid.core.files import written_whole
from patchgrid.core.packages import require
from patchgrid.core.types import Answer, Pair
from patchgrid.pairs.errors import PairFileError
from patchgrid.pairs.records.cells import is_list_like
from patchgrid.pairs.records.plain_json import plain_answer, plain_record, plain_spans

_COLUMNS = ("id", "clean", "corrupted", "correct", "incorrect", "spans", "group")
#: Pairs per row group.
_GROUP = 10_000


def write_pairs(target: str | os.PathLike[str], pairs: Iterable[Pair], *, replace: bool = False) -> None:
    """Write pairs to a file, in the format that its name ends in.

    Raises `PairFileError` for another name, an existing file (unless `replace`), or one that
    cannot be written; then nothing was changed.
    """
    path = Path(target)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise PairFileError(f"{path}: the name must end in {', '.join(sorted(_WRITERS))}")
    if path.exists() and not replace:
        raise PairFileError(f"{path}: already exists; use --force to overwrite it")
    try:
        with written_whole(path) as file:
            write(file, pairs)
    except OSError as error:
        raise PairFileError(f"{path}: cannot be written: {error.strerror or error}") from error


def _write_lines(path: Path, pairs: Iterable[Pair]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for pair in pairs:
            file.write(f"{json.dumps(plain_record(pair), ensure_ascii=False)}\n")


def _write_csv(path: Path, pairs: Iterable[Pair]) -> None:
    limit = csv.field_size_limit()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for number, pair in enumerate(pairs):
            row = cells(pair)
            if max(len(cell or "") for cell in row) > limit:
                longest = f"a text of more than {limit:,} characters, the limit of CSV cells"
                raise PairFileError(f"pair {pair.id or number} has {longest}: write .jsonl or .parquet")
            writer.writerow(row)


def _write_parquet(path: Path, pairs: Iterable[Pair]) -> None:
    require("parquet", "writing Parquet")
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, pa.string()) for name in _COLUMNS])
    rest = iter(pairs)
    with parquet.ParquetWriter(path, schema) as writer:
        while group := [cells(pair) for pair in islice(rest, _GROUP)]:
            columns = [pa.array(column, pa.string()) for column in zip(*group, strict=True)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def cells(pair: Pair) -> Sequence[str | None]:
    """Return a pair as the cells of a table's row."""
    spans = plain_spans(pair.spans)
    return (
        pair.id,
        pair.clean,
        pair.corrupted,
        _answer_cell(pair.correct),
        _answer_cell(pair.incorrect),
        None if spans is None else _as_json(spans),
        pair.group,
    )


def _answer_cell(answers: Sequence[Answer]) -> str:
    """Write a text as it is, anything else as JSON, including a text that looks like JSON."""
    first = answers[0]
    if len(answers) == 1 and isinstance(first, str) and not is_list_like(first):
        return first
    return _as_json([plain_answer(answer) for answer in answers])


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_WRITERS: Mapping[str, Callable[[Path, Iterable[Pair]], None]] = {
    ".jsonl": _write_lines,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
