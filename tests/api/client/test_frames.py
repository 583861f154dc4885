"""What the client gives as dataframes and arrays, against what the command line exports."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from patchgrid.api import Job, Workspace
from patchgrid.api.client import errors, frames
from patchgrid.core.errors import PatchgridError, SpecError
from patchgrid.storage.output.export import FIELDS
from support.api.lab import Lab
from support.storage.method_jobs import fill
from support.storage.storage_backends import sqlite_url


def as_rows(frame: Any) -> list[dict[str, Any]]:
    """Return a dataframe of either library as rows, with None for what is missing."""
    if isinstance(frame, pl.DataFrame):
        return frame.to_dicts()
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{name: _listed(value) for name, value in row.items()} for row in rows]


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("frame", ["pandas", "polars"])
@pytest.mark.parametrize("arrow", [True, False], ids=["parquet", "lines"])
@pytest.mark.parametrize("what", ["scores", "exact", "pairs"])
def test_exports_are_dataframes(
    lab: Lab, job: Job, what: str, arrow: bool, frame: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the rows that the command line exports; the same with pyarrow and without."""
    if not arrow:
        monkeypatch.setattr(frames, "is_installed", lambda name: name != "pyarrow")
    found = getattr(job, what)(frame=frame)
    assert isinstance(found, pd.DataFrame if frame == "pandas" else pl.DataFrame)
    assert tuple(found.columns) == FIELDS[what]
    expected = [row | {"pair": str(row["pair"])} for row in lab.rows(what)]
    assert as_rows(found) == expected


@pytest.mark.parametrize("frame", ["pandas", "polars"])
def test_components_are_dataframes_of_whole_numbers_where_these_are(lab: Lab, job: Job, frame: str) -> None:
    """The strongest first, or all in order."""
    top = job.top(5, by="mean", frame=frame)
    assert as_rows(top) == [
        _without_edge(row) for row in lab.local("results", "top", 1, "-k", 5, "--by", "mean")["items"]
    ]
    every = as_rows(job.components(frame=frame))
    assert [{name: row[name] for name in FIELDS["components"]} for row in every] == lab.rows("components")
    assert {row["site"] for row in as_rows(job.components(site="z", frame=frame))} == {"z"}
    assert str(top["n"].dtype) == str(top["head"].dtype) == "Int64"
    aligned = job.components(kind="aligned", site="z", frame=frame)
    assert min(row["position"] for row in as_rows(aligned)) < -1
    narrow = as_rows(job.top(1, by="mean", interval="pairs", frame=frame))[0]
    assert narrow["ci_high"] < as_rows(top)[0]["ci_high"]


@pytest.mark.parametrize("frame", ["pandas", "polars"])
def test_components_are_searched_for_and_a_components_cells_asked_for(lab: Lab, job: Job, frame: str) -> None:
    """By the server: the rows are those of the whole lists."""
    every = as_rows(job.components(frame=frame))
    wanted = [row for row in every if row["component"].startswith("a1.h")]
    assert wanted
    assert as_rows(job.components(search="A1.", frame=frame)) == wanted
    largest = sorted(wanted, key=lambda row: -abs(row["mean"]))[:2]
    assert as_rows(job.top(2, by="mean", search="a1.", frame=frame)) == largest
    cells = job.exact(component="a1.h1", frame=frame)
    assert tuple(cells.columns) == FIELDS["exact"]
    rows = [row | {"pair": str(row["pair"])} for row in lab.rows("exact")]
    place = {"site": "z", "layer": 1, "head": 1}
    assert as_rows(cells) == [row for row in rows if row | place == row]
    assert len(cells) > 0
    assert len(job.exact(component="a9.h9", frame=frame)) == 0


def _without_edge(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "edge"}


@pytest.mark.parametrize("frame", ["pandas", "polars"])
def test_verification_is_a_dataframe(lab: Lab, job: Job, frame: str) -> None:
    """A row a site."""
    assert (
        as_rows(job.verification(top_k=3, frame=frame)) == lab.local("results", "verify", 1, "-k", 3)["items"]
    )
    advice = lab.local("results", "verify", 1)["advice"]
    assert [text.partition(": patchgrid")[0] for text in job.advice()] == [each["text"] for each in advice]


def test_pandas_comes_first_and_a_missing_library_is_named(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is asked."""
    assert isinstance(job.top(1), pd.DataFrame)
    monkeypatch.setattr(frames, "is_installed", lambda name: name == "polars")
    assert isinstance(job.top(1), pl.DataFrame)
    with pytest.raises(errors.FramesMissing, match="pandas is not installed: pip install pandas"):
        job.scores(frame="pandas")
    monkeypatch.setattr(frames, "is_installed", lambda _: False)
    with pytest.raises(errors.FramesMissing, match=r"neither pandas nor polars .*patchgrid\[notebook\]"):
        job.top()
    with pytest.raises(SpecError, match="'arrow'"):
        job.top(frame="arrow")


def test_several_methods_and_edges_are_told_apart(tmp_path: Path) -> None:
    """Edges by their names."""
    fill(sqlite_url(tmp_path))
    with Workspace(tmp_path / "test.db") as workspace:
        nodes, edges = workspace.job("nodes"), workspace.job("edges")
        assert set(nodes.verification()["method"]) == {"atp", "relp", "ig"}
        assert not nodes.scores("ig").equals(nodes.scores())
        assert "->" in edges.top(1)["edge"][0]
        assert "->" in edges.scores()["edge"][0]
        with pytest.raises(PatchgridError, match="--detail positions"):
            edges.scores("eap-ig")
        with pytest.raises(PatchgridError, match="method of this job"):
            nodes.top(method="eap")


def test_one_pair_is_given_with_its_arrays(job: Job) -> None:
    """By id or row."""
    view = job.pair("pair-3")
    assert view.index == 3
    assert view.scores["z"].dtype == np.float32
    assert view.scores["z"].shape[1] == len(view.tokens)
    assert job.pair(3).name == "pair-3"
    with pytest.raises(PatchgridError, match="has no pair 'nobody'"):
        job.pair("nobody")
