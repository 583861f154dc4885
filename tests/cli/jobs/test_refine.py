"""`job refine`, `run --exact-top`, `run --certify`: rounds through the command line, on the demo model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchgrid.core.refinement import Refinement
from patchgrid.storage import Database
from patchgrid.storage.queue import control
from patchgrid.storage.rounds.requests import refine
from support.cli.commands import patchgrid, refused

ROOT = Path(__file__).parents[3]
PAIRS, MODEL = ROOT / "examples/pairs/ioi.jsonl", ROOT / "examples/demo_model"
#: 120 pairs of which a sixth of the cells is patched.
RUN = ("run", PAIRS, "-m", MODEL, "--limit", 120, "--exact", 0.02, "--name", "demo")


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with a finished job on the demo model."""
    database = tmp_path_factory.mktemp("refine") / "jobs.db"
    assert patchgrid(*RUN, "--db", database).exit_code == 0
    return database


@pytest.fixture
def ask(measured: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that runs a command on a copy of that database."""
    database = tmp_path / "jobs.db"
    shutil.copy(measured, database)
    return lambda *arguments: patchgrid(*arguments, "--db", database)


def document(result: Any) -> Any:
    """Read the JSON that a command printed."""
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def effects(ask: Callable[..., Any], component: str) -> list[float]:
    """Return the exact effects of a component."""
    lines = ask("results", "export", 1, "--what", "exact").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["effect"] for row in rows if row["component"] == component]


def test_named_components_are_patched_whole(ask: Callable[..., Any]) -> None:
    """Their estimate is the mean of their effects; the job shows what was done."""
    before = document(ask("results", "top", 1, "-k", 40, "--json"))["items"]
    assert {row["component"]: row["exact_n"] for row in before}["a1.h5"] < 120
    found = document(ask("job", "refine", 1, "--components", "a1.h5,m1", "--json"))
    assert found["refinement"]["state"] == "done"
    after = {row["component"]: row for row in document(ask("results", "top", 1, "-k", 40, "--json"))["items"]}
    for name in ("a1.h5", "m1"):
        assert after[name]["exact_n"] == 120
        assert after[name]["estimate"] == pytest.approx(np.mean(effects(ask, name)))
    shown = ask("job", "show", 1).stdout
    assert (
        f"--components a1.h5,m1: {found['refinement']['result']['cells']:,} cells patched in round 1" in shown
    )
    assert "all of these cells are already patched" in refused(ask("job", "refine", 1, "--components", "m1"))


def test_a_certificate_is_shown_and_holds(ask: Callable[..., Any]) -> None:
    """What it says of components is true of the effects of all pairs, which are patched afterwards."""
    result = ask("job", "refine", 1, "--certify", "top=3", "--max-exact", "60%")
    assert result.exit_code == 0, result.stderr
    assert "Top 3 components by |mean effect|" in result.stdout
    assert "No other component is above" in result.stderr
    assert "uniform sampling would have taken about" in result.stderr
    assert "The certificate speaks of this job's pairs, and assumes" in result.stderr
    certificate = document(ask("results", "certificate", 1, "--json"))["refinement"]["result"]
    assert certificate["holds"]
    document(ask("job", "refine", 1, "--exact", "1", "--json"))
    items = document(ask("results", "top", 1, "-k", 40, "--json"))["items"]
    truth = {row["component"]: abs(np.mean(effects(ask, row["component"]))) for row in items}
    largest = sorted(truth, key=lambda name: -truth[name])[:3]
    states = {row["component"]: row["state"] for row in certificate["components"]}
    assert {name for name, state in states.items() if state == "in"} <= set(largest)
    assert not {name for name, state in states.items() if state == "out"} & set(largest)
    again = ask("results", "certificate", 1, "--number", 2)
    assert "refinement 2 of job 1 is no certificate; certificates: 1" in refused(again)


def test_a_job_is_submitted_with_refinements(tmp_path: Path) -> None:
    """They follow its scores; the same command shows them again, and its key is that of the job without."""
    database = tmp_path / "a.db"
    command = (*RUN, "--exact-top", 2, "--certify", 3, "--max-exact", 0.6, "--db", database, "--json")
    first = document(patchgrid(*command))
    assert [each["state"] for each in first["refinements"]] == ["done", "done"]
    assert [each["request"].get("top") for each in first["refinements"]] == [2, None]
    assert [row["exact_n"] for row in first["top"][:2]] == [120, 120]
    again = patchgrid(*command)
    assert "already measured these pairs" in again.stderr
    assert document(again)["refinements"] == first["refinements"]
    more = document(patchgrid(*RUN, "--exact-top", 4, "--db", database, "--json"))
    assert (more["job"], more["key"]) == (first["job"], first["key"])
    assert [row["exact_n"] for row in more["top"][:4]] == [120] * 4


def test_a_queued_round_can_be_watched_cancelled_and_resumed(ask: Callable[..., Any]) -> None:
    """The list and the job say which round runs; a cancel keeps the job."""
    assert ask("job", "refine", 1, "--top", 5, "--queue").exit_code == 0
    assert "running, round 1" in ask("job", "list").stdout
    standing = document(ask("job", "show", 1, "--json"))
    assert (standing["state"], standing["rounds"]) == ("running", 1)
    assert standing["refinement"]["request"] == {"top": 5}
    assert "job 1 is still running" in refused(ask("job", "refine", 1, "--top", 6))
    resumed = document(ask("job", "refine", 1, "--top", 5, "--json"))
    assert resumed["refinement"]["state"] == "done"
    assert ask("job", "refine", 1, "--top", 6, "--queue").exit_code == 0
    assert "Round 2 of job 1 is cancelled" in ask("job", "cancel", 1).stderr
    assert document(ask("job", "show", 1, "--json"))["state"] == "done"
    assert "cancelled" in ask("job", "show", 1).stdout


def test_a_dry_run_says_what_refinements_add() -> None:
    """At least and at most."""
    result = patchgrid("submit", *RUN[1:], "--exact-top", 2, "--certify", "top=3", "--dry-run")
    assert "--exact-top 2: at most 240 cells more" in result.stderr
    assert "--certify top=3: about" in result.stderr


REFUSALS = {
    "nothing": ((), "a refinement takes one of --exact, --top, --components or --certify; 0 given"),
    "two": (("--top", 3, "--certify", 3), "; 2 given"),
    "exact 0": (("--exact", 0), "--exact 0 is not a share above 0"),
    "share": (("--exact", "much"), "'much' is not a share: write 0.05 or 5%"),
    "unknown component": (("--components", "a1.h55"), "no component 'a1.h55': did you mean 'a1.h5'?"),
    "no component": (("--components", ","), "--components is empty"),
    "positions alone": (("--positions", "-1", "--top", 2), "--positions needs --components"),
    "confidence alone": (("--top", 3, "--confidence", 0.9), "--confidence needs --certify"),
    "confidence": (("--certify", 3, "--confidence", 2), "confidence 2.0 is not between 0.5 and 1"),
    "k": (("--certify", 36), "has only 36 components: certify fewer"),
    "no k": (("--certify", "top=few"), "'top=few' is not a number of components: write top=20"),
    "budget": (("--certify", 3, "--max-exact", 0.01), "give --max-exact"),
}


@pytest.mark.parametrize(("options", "message"), REFUSALS.values(), ids=REFUSALS)
def test_a_bad_refinement_is_refused(
    ask: Callable[..., Any], options: tuple[object, ...], message: str
) -> None:
    """In one line; the job stays done."""
    assert message in refused(ask("job", "refine", 1, *options))
    assert document(ask("job", "show", 1, "--json"))["refinements"] == []


def test_a_model_that_changed_is_refused(measured: Path, tmp_path: Path) -> None:
    """Before anything is stored, on the queue as well."""
    model, database = tmp_path / "model", tmp_path / "a.db"
    shutil.copytree(MODEL, model)
    run = ("run", PAIRS, "-m", model, "--limit", 60, "--sites", "z", "--db", database)
    assert patchgrid(*run).exit_code == 0
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-2] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    for more in ((), ("--queue",)):
        message = refused(patchgrid("job", "refine", 1, "--top", 20, "--db", database, *more))
        assert "different weights" in message
    assert "different weights" in refused(patchgrid(*run, "--exact-top", 20))
    assert document(patchgrid("job", "show", 1, "--db", database, "--json"))["refinements"] == []


def test_neurons_have_no_certificate(tmp_path: Path) -> None:
    """Too few of their cells can be patched; the message says what can be done."""
    command = (*RUN, "--sites", "mlp_post", "--exact", 0.001, "--certify", 5, "--db", tmp_path / "a.db")
    assert "certificates are not supported for mlp_post" in refused(patchgrid(*command))


def test_cancelled_jobs_are_not_refined(ask: Callable[..., Any], tmp_path: Path) -> None:
    """The message says how to go on."""
    with Database.open(f"sqlite:///{tmp_path / 'jobs.db'}") as database, database.write() as session:
        refine(session, 1, Refinement(top=3))
        control.pause(session, 1)
    assert "is paused: `patchgrid job resume 1`" in refused(ask("job", "refine", 1, "--exact", 0.1))
