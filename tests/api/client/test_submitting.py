"""Pairs of any kind, submitted by the client."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from patchgrid.api import Workspace
from patchgrid.api.client.http import errors
from patchgrid.core.errors import ModelError, SpecError
from patchgrid.engine import Pair
from patchgrid.pairs import PairFileError
from patchgrid.storage.jobs import job_list
from support.api.lab import Lab


@pytest.mark.parametrize("kind", ["path", "str", "dicts", "pairs", "generator", "pandas", "polars"])
def test_pairs_of_every_kind_are_the_same_job(lab: Lab, workspace: Workspace, kind: str) -> None:
    """The one that the file made."""
    rows = lab.given()
    made: dict[str, Any] = {
        "path": lab.pairs,
        "str": str(lab.pairs),
        "dicts": rows,
        "pairs": [Pair(**row) for row in rows],
        "generator": (row for row in rows),
        "pandas": pd.DataFrame(rows),
        "polars": pl.DataFrame(rows),
    }
    options: dict[str, Any] = {"detail": "positions", "exact": 0.3, "exact_per_component": 30}
    found = workspace.submit(
        made[kind], model=str(lab.model), sites=["z", "mlp_out", "resid_post"], name="shared", **options
    )
    assert (found.id, found.state) == (1, "done")
    assert found.progress == {"total": 12, "done": 10, "failed": 2, "skipped": 0}


def test_dataframes_may_lack_ids_and_have_lists_and_token_ids(workspace: Workspace) -> None:
    """What is missing in a column is missing in the pair."""
    columns = {
        "id": ["one", None],
        "clean": ["a b", "a c"],
        "corrupted": ["a d", "a e"],
        "correct": [[1, 2], [3]],
        "incorrect": [np.array([4]), np.array([5, 6])],
        "spans": [{"subject": (0, 1)}, None],
    }
    job = workspace.submit(pd.DataFrame(columns), model="org/model", name="frame")
    assert list(job.pairs()["pair"]) == ["one", "1"]
    assert job.info["spans"] == ["subject"]
    assert job.pair(0).pair.correct == (1, 2)
    job.delete()


def test_bad_pairs_and_settings_are_refused_before_anything_is_sent(workspace: Workspace) -> None:
    """Each pair named."""
    for pairs, message in (
        ([{"clean": "a"}, 7], "pairs:2: must be a Pair or a dict, not int"),
        ([{"clean": "a"}], "pairs:1: missing 'corrupted'"),
        ({"clean": "a"}, "a list of Pair or of dicts, or a dataframe"),
        (pd.DataFrame({"a": [1]}), "pairs:1"),
        ([], "is empty"),
        ("nowhere.jsonl", "no such file"),
    ):
        with pytest.raises(PairFileError, match=message):
            workspace.submit(pairs, model="org/model")
    with pytest.raises(SpecError, match="unknown site"):
        workspace.submit([], model="org/model", sites="heads")
    with pytest.raises(SpecError, match="layers"):
        workspace.submit([], model="org/model", layers=3)
    with pytest.raises(SpecError, match=r"unknown setting 'methods': did you mean 'method'\?"):
        workspace.submit([], model="org/model", methods="atp")
    with pytest.raises(SpecError, match="exact must be a number"):
        workspace.submit([], model="org/model", exact="0.5")
    with pytest.raises(ModelError, match="no model folder at"):
        workspace.submit([Pair("a", "b", "c", "d")], model="./nowhere")
    assert [job.name for job in workspace.jobs()] == ["shared"]


def test_a_server_s_refusals_reach_the_notebook(served: Lab) -> None:
    """A model that is not on its list."""
    with pytest.raises(errors.NotAllowed, match="other/model"):
        Workspace(served.place).submit([Pair("a", "b", "c", "d")], model="other/model")


def test_every_job_is_listed_whatever_the_size_of_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the last page is full."""
    monkeypatch.setattr(job_list, "MOST", 2)
    with Workspace(tmp_path / "jobs.db") as workspace:
        made = [
            workspace.submit([Pair("a", "b", "c", "d")], model="org/model", name=f"job {number}", seed=number)
            for number in range(4)
        ]
        assert [job.id for job in workspace.jobs()] == [job.id for job in reversed(made)]
