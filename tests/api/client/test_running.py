"""Measuring into a workspace in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from patchgrid.api import JobFailed, PairWarning, Workspace
from patchgrid.api.client import errors
from patchgrid.core import packages
from patchgrid.core.errors import ModelError, SpecError
from patchgrid.engine import Engine
from patchgrid.pairs import PairFileError
from patchgrid.pairs.records.plain_json import plain_record
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.testing import StandIn, load, make_pairs
from support.api.lab import Lab
from support.engine.cases import DEMO_PAIRS
from support.engine.models import DEMO_MODEL
from support.storage.storage_backends import BACKENDS, sqlite_url


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database that does not exist yet, or is empty."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    url: str = request.getfixturevalue("postgres").new_url()
    return url


@pytest.fixture
def workspace(place: str) -> Iterator[Workspace]:
    """Return a new workspace."""
    with Workspace(place) as opened:
        yield opened


@pytest.fixture
def engine() -> StandIn:
    """Return an engine that needs no model."""
    return load(ModelKey("a"))


def test_pairs_are_measured_here_once(
    workspace: Workspace, engine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a bar; the second time they are there already, and nothing is loaded."""
    pairs = make_pairs(20)
    job = workspace.run(pairs, engine=engine, sites="z", exact=0.5, name="first")
    assert (job.state, job.progress["done"], job.name) == ("done", 20, "first")
    assert "20 of 20 pairs" in capsys.readouterr().err
    assert workspace.run(pairs, engine=engine, sites="z", exact=0.5, progress=False).id == job.id
    assert workspace.run(pairs, engine=engine, sites="z", exact=0.4, progress=False).id != job.id
    assert capsys.readouterr() == ("", "")
    assert len(job.top(3)) == 3


def test_a_run_that_was_interrupted_resumes(workspace: Workspace, engine: Any) -> None:
    """With what was measured before."""

    def interrupt(_pairs: Any) -> None:
        if workspace.job().progress["done"]:
            raise KeyboardInterrupt

    engine.on_begin = interrupt
    query: dict[str, Any] = {"engine": engine, "sites": "z", "exact": 0.5, "chunk_size": 8, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        workspace.run(make_pairs(24), **query)
    assert 0 < workspace.job().progress["done"] < 24
    engine.on_begin = None
    assert workspace.run(make_pairs(24), **query).progress["done"] == 24


def test_what_the_command_line_says_of_pairs_is_warned_of(workspace: Workspace, engine: Any) -> None:
    """How they were read, and how they did; at the line that called."""
    records = [plain_record(pair) | {"label": 1} for pair in make_pairs(4, words={1: "NAN"})]
    query: dict[str, Any] = {"sites": "z", "exact": 0.5}
    with pytest.warns(PairWarning) as told:
        workspace.run(records, engine=engine, progress=False, **query)
    texts = [str(each.message) for each in told]
    assert texts[0] == "ignored columns: 'label'"
    assert texts[-1] == "1 of 4 pairs failed: job.pairs() has the reasons"
    assert workspace.job().task()["warnings"] == texts[1:-1]
    assert {each.filename for each in told} == {__file__}
    with pytest.warns(PairWarning, match="ignored columns"):
        workspace.submit(records, model="other", **query)


def test_what_cannot_be_run_is_refused(workspace: Workspace, engine: Any, tmp_path: Path) -> None:
    """With what to do."""
    pairs = make_pairs(8)
    with pytest.raises(SpecError, match="give either model"):
        workspace.run(pairs)
    with pytest.raises(SpecError, match="runs in float32, not in bfloat16"):
        workspace.run(pairs, engine=engine, dtype="bfloat16")
    with pytest.raises(SpecError, match="did you mean 'exact'"):
        workspace.run(pairs, engine=engine, exakt=0.5)
    with pytest.raises(PairFileError, match="no such file"):
        workspace.run("nowhere.jsonl", engine=engine)
    with pytest.raises(ModelError, match="no model folder at"):
        workspace.run(pairs, model="./nowhere")
    job = workspace.submit(pairs, model="a", dtype="float32", sites="z").pause()
    with pytest.raises(errors.JobPaused, match=f"job {job.id} .* is paused: resume it first"):
        workspace.run(pairs, engine=engine, sites="z")
    failing = make_pairs(2, words={0: "NAN", 1: "NAN"})
    with pytest.raises(JobFailed, match=r"is failed.*; pair 0: "):
        workspace.run(failing, engine=engine, sites="z", progress=False)


def test_a_model_in_memory_is_measured_and_told_by_its_weights(tmp_path: Path) -> None:
    """The numbers are those of the folder; changed weights are another job, the same ones the same job."""
    model = AutoModelForCausalLM.from_pretrained(DEMO_MODEL)
    tokenizer = AutoTokenizer.from_pretrained(DEMO_MODEL)
    query: dict[str, Any] = {"limit": 4, "exact": 0.1, "progress": False}
    with Workspace(tmp_path / "jobs.db") as workspace:
        loaded = workspace.run(DEMO_PAIRS, model=DEMO_MODEL, dtype="float32", **query)
        job = workspace.run(DEMO_PAIRS, model=model, tokenizer=tokenizer, **query)
        assert job.spec["model"] == str(DEMO_MODEL)
        assert job.id != loaded.id
        pd.testing.assert_frame_equal(job.scores(), loaded.scores())
        assert workspace.run(DEMO_PAIRS, model=Engine(model, tokenizer), **query).id == job.id
        with torch.no_grad():
            model.get_output_embeddings().weight.mul_(2)
        changed = workspace.run(DEMO_PAIRS, model=model, tokenizer=tokenizer, **query)
        assert changed.id not in (job.id, loaded.id)


def test_packages_that_run_models_are_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are not installed."""
    monkeypatch.setattr(packages, "is_installed", lambda name: name != "torch")
    with pytest.raises(packages.MissingExtraError, match=r"torch, which is not .* 'patchgrid\[model\]'"):
        workspace.run(make_pairs(2), model="some/model")


def test_nothing_is_measured_here_into_a_server(served: Lab) -> None:
    """Its workers do that."""
    with pytest.raises(errors.NotHere, match=r"cannot measure here .* submit"):
        Workspace(served.place).run(served.pairs, model=str(served.model))


def test_a_database_that_is_not_there_is_made_by_what_writes_alone(tmp_path: Path, engine: Any) -> None:
    """So that a misspelled name is noticed."""
    workspace = Workspace(tmp_path / "jobs.db")
    with pytest.raises(LookupError):
        workspace.job()
    assert not (tmp_path / "jobs.db").exists()
    with pytest.raises(ModelError):
        workspace.run(make_pairs(2), model=str(tmp_path))
    assert not (tmp_path / "jobs.db").exists()
    workspace.run(make_pairs(2), engine=engine, sites="z", progress=False)
    assert workspace.job().state == "done"


def test_the_environment_names_a_workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As it does for the command line."""
    for name in ("PATCHGRID_SERVER", "PATCHGRID_DB"):
        monkeypatch.delenv(name, raising=False)
    assert Workspace().place == "sqlite:///patchgrid.db"
    monkeypatch.setenv("PATCHGRID_DB", str(tmp_path / "a.db"))
    assert Workspace().place == f"sqlite:///{tmp_path / 'a.db'}"
    monkeypatch.setenv("PATCHGRID_SERVER", "http://localhost:8000")
    assert Workspace().place == "http://localhost:8000"
