"""Rows and exports as dataframes: pandas or polars, whichever is installed."""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchgrid.api.client.backends.backend import Backend
from patchgrid.api.client.errors import FramesMissing
from patchgrid.api.client.http.errors import NotSupported
from patchgrid.core.errors import SpecError
from patchgrid.core.packages import is_installed
from patchgrid.core.sites import INDEX_FIELDS
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.export import fields_of

if TYPE_CHECKING:
    import pyarrow as pa

#: The kinds of dataframes, the first that is installed being the one given.
LIBRARIES = ("pandas", "polars")
_WHOLE = frozenset(
    {"layer", *INDEX_FIELDS, "n", "exact_n", "row", "top_k", "top_patched", "components", "cells"}
    | {"compared", "pairs", "mean_n", "matter_n"}
)
_TEXT = frozenset({"component", "pair", "site", "method", "state", "error", "warning", "edge"})
_TEXT |= {"clean", "corrupted", "group"}

Row = Mapping[str, Any]


def library(named: str | None) -> str:
    """Return the dataframe library; `FramesMissing` if it is not installed."""
    if named is not None and named not in LIBRARIES:
        raise SpecError(f"frame is {' or '.join(LIBRARIES)}, not {named!r}", "frame")
    chosen = next((each for each in ((named,) if named else LIBRARIES) if is_installed(each)), None)
    if chosen is None:
        raise FramesMissing(
            f"{named or 'neither pandas nor polars'} is {'not ' if named else ''}installed: "
            f"pip install {named or 'pandas'}, or pip install 'patchgrid[notebook]'"
        )
    return chosen


def frame_of(rows: Iterable[Row], fields: Sequence[str], kind: str) -> Any:
    """Make a dataframe of rows; what may be missing is null, and whole numbers stay whole."""
    columns: dict[str, list[Any]] = {field: [] for field in fields}
    for row in rows:
        for field in fields:
            value = row.get(field)
            columns[field].append(str(value) if field in _TEXT and value is not None else value)
    texts = _TEXT | _text_positions(columns)
    return (_pandas if kind == "pandas" else _polars)(columns, texts)


def exported(
    backend: Backend, job: JobRecord, what: str, method: str | None, kind: str, *, normalise: bool = False
) -> Any:
    """Make a dataframe of an export: by way of Parquet where both sides have pyarrow, else of JSON lines."""
    with tempfile.TemporaryDirectory(prefix="patchgrid-export-") as folder:
        path = Path(folder) / "export"
        if is_installed("pyarrow"):
            with suppress(NotSupported):  # a server without pyarrow
                with path.open("wb") as file:
                    backend.export(job, what, "parquet", method, file, normalise=normalise)
                return _read_parquet(path, kind)
        with path.open("wb") as file:
            backend.export(job, what, "jsonl", method, file, normalise=normalise)
        with path.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
    return frame_of(rows, list(rows[0]) if rows else fields_of(job, what, normalise=normalise), kind)


def _read_parquet(path: Path, kind: str) -> Any:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    if kind == "polars":
        import polars as pl

        return pl.from_arrow(table)
    return _pandas_of_arrow(table)


def _pandas_of_arrow(table: "pa.Table") -> Any:
    import pandas as pd
    import pyarrow as pa

    whole = {pa.int32(): pd.Int64Dtype(), pa.int64(): pd.Int64Dtype()}
    return table.to_pandas(types_mapper=whole.get)


def _text_positions(columns: Mapping[str, Sequence[Any]]) -> frozenset[str]:
    """Tell whether positions are names of spans."""
    named = any(isinstance(value, str) for value in columns.get("position", ()))
    return frozenset({"position"} if named else ())


def _pandas(columns: Mapping[str, list[Any]], texts: frozenset[str]) -> Any:
    import pandas as pd

    def series(field: str, values: list[Any]) -> Any:
        if field in texts:
            return pd.Series([None if each is None else str(each) for each in values], dtype="str")
        if field in _WHOLE or field == "position":
            return pd.Series(values, dtype="Int64")
        if any(isinstance(each, (list, dict, bool)) for each in values):
            return pd.Series(values, dtype="object")
        return pd.Series(values, dtype="float64")

    return pd.DataFrame({field: series(field, values) for field, values in columns.items()})


def _polars(columns: Mapping[str, list[Any]], texts: frozenset[str]) -> Any:
    import polars as pl

    def series(field: str, values: list[Any]) -> Any:
        if field in texts:
            return pl.Series(field, [None if each is None else str(each) for each in values], dtype=pl.String)
        if field in _WHOLE or field == "position":
            return pl.Series(field, values, dtype=pl.Int64)
        if any(isinstance(each, list) for each in values):
            return pl.Series(field, values, dtype=pl.List(pl.String))
        if any(isinstance(each, bool) for each in values):
            return pl.Series(field, values, dtype=pl.Boolean)
        return pl.Series(field, values, dtype=pl.Float64, strict=False)

    return pl.DataFrame([series(field, values) for field, values in columns.items()])
