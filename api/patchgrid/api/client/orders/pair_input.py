"""A pair file from what a notebook has: a path, pairs, dicts or a dataframe."""

import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from patchgrid.core.types import Pair, TextSpan, TokenPiece, TokenText
from patchgrid.pairs import PairFile, PairFileError, parse_columns
from patchgrid.pairs.records.columns import check_columns
from patchgrid.pairs.records.plain_json import plain
from patchgrid.pairs.source import Source

#: Name in messages of pairs that are not from a file.
NAME = "pairs"
#: Rows read from a dataframe at a time.
_BATCH = 10_000


def pair_file(
    pairs: Any, *, limit: int | None = None, columns: Mapping[str, str] | str | None = None
) -> PairFile:
    """Return a pair file: the one at a path, or a temporary one that is deleted when closed.

    `columns` are the columns by field, as an object or as the command line takes them. Raises
    Raises `PairFileError` for what is no pairs, and `ColumnsError`.
    """
    named = parse_columns([columns]) if isinstance(columns, str) else check_columns(columns)
    if isinstance(pairs, (str, os.PathLike)):
        return PairFile.open(pairs, limit=limit, columns=named)
    descriptor, path = tempfile.mkstemp(prefix="patchgrid-pairs-", suffix=".jsonl")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            for record in _records(pairs):
                file.write(json.dumps(record, ensure_ascii=False, default=_plain))
                file.write("\n")
        return PairFile(Source(Path(path), NAME, temporary=True), limit, named)
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise


def _records(pairs: Any) -> Iterator[dict[str, Any]]:
    if hasattr(pairs, "iter_rows"):  # polars
        rows: Iterable[Any] = pairs.iter_rows(named=True)
    elif hasattr(pairs, "iloc"):  # pandas
        rows = _pandas_rows(pairs)
    elif isinstance(pairs, Mapping) or not isinstance(pairs, Iterable):
        raise PairFileError(
            "pairs must be a path, a list of Pair or of dicts, or a dataframe with columns clean, corrupted, "
            f"correct, incorrect; not {type(pairs).__name__}"
        )
    else:
        rows = pairs
    for number, row in enumerate(rows):
        yield _record(row, number)


def _pandas_rows(frame: Any) -> Iterator[dict[str, Any]]:
    for start in range(0, len(frame), _BATCH):
        yield from frame.iloc[start : start + _BATCH].to_dict("records")


def _record(row: Any, number: int) -> dict[str, Any]:
    if isinstance(row, Pair):
        row = {
            "id": row.id,
            "clean": row.clean,
            "corrupted": row.corrupted,
            "correct": list(row.correct),
            "incorrect": list(row.incorrect),
            "spans": row.spans,
            "group": row.group,
        }
    if not isinstance(row, Mapping):
        raise PairFileError(f"{NAME}:{number + 1}: must be a Pair or a dict, not {type(row).__name__}")
    return {str(name): value for name, value in row.items() if not _is_missing(value)}


def _is_missing(value: Any) -> bool:
    """Return whether a value is None or a dataframe's missing value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return type(value).__name__ in ("NAType", "NaTType")


def _plain(value: Any) -> Any:
    """Convert a value to plain JSON: numpy numbers and arrays, tuples, token texts."""
    if isinstance(value, TokenText | TokenPiece | TextSpan):
        return plain(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    return str(value)
