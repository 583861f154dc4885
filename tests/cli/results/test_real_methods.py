"""Methods, sites and sources that a model has, or has not, through `run` and real models."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.cli.commands import patchgrid, refused
from support.engine.models import DEMO_MODEL, save_model

PAIR = {"clean": "the cat and the dog", "corrupted": "the dog and the cat"}
IOI = DEMO_MODEL.parent / "pairs" / "ioi.jsonl"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of tiny models: one with experts, one whose attention exposes no queries."""
    root = tmp_path_factory.mktemp("models")
    for name in ("mixtral", "bloom"):
        save_model(name, root)
    return root


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        ("mixtral", ("--method", "relp"), "relp is not supported for this model.*Use ig"),
        ("mixtral", ("--sites", "mlp_post"), "no site 'mlp_post': its MLP has experts"),
        ("bloom", ("--sites", "q", "--method", "atp*"), "no site 'q'.*available: resid_pre, z"),
    ],
)
def test_what_a_model_cannot_give_is_refused_before_anything_is_stored(
    models: Path, tmp_path: Path, model: str, options: tuple[str, ...], reason: str
) -> None:
    """In one line that says what would work."""
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({**PAIR, "correct": " and", "incorrect": " in"}), encoding="utf-8")
    database = f"sqlite:///{tmp_path / 'jobs.db'}"
    result = patchgrid("run", pairs, "-m", models / model, *options, "--db", database)
    line = refused(result)
    for part in reason.split(".*"):
        assert part in line
    assert not (tmp_path / "jobs.db").exists()


@pytest.mark.parametrize(
    ("options", "sites", "methods"),
    [
        (("--method", "atp*,relp", "--sites", "q,k,mlp_post"), {"q", "k", "mlp_post"}, {"atp*", "relp"}),
        (("--method", "eap,eap-ig", "--steps", "2"), {"edge"}, {"eap", "eap-ig"}),
        (("--method", "ig", "--path", "site", "--source", "mean", "--sites", "z"), {"z"}, {"ig"}),
        (("--method", "atp*", "--grad-drop", "--source", "zero", "--sites", "z"), {"z"}, {"atp*"}),
    ],
)
def test_every_method_is_checked_against_exact_patching_in_its_job(
    tmp_path: Path, options: tuple[str, ...], sites: set[str], methods: set[str]
) -> None:
    """From pairs to agreement, on the demo model."""
    database = f"sqlite:///{tmp_path / 'jobs.db'}"
    asked = ("-m", DEMO_MODEL, "--limit", 6, "--exact", 0.05, *options)
    ran = patchgrid("run", IOI, *asked, "--db", database, "--json")
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["pairs"] == {"total": 6, "done": 6, "failed": 0, "skipped": 0}
    rows: list[dict[str, Any]] = json.loads(
        patchgrid("results", "verify", "last", "--db", database, "--json").stdout
    )["items"]
    assert {row["site"] for row in rows} == sites
    assert {row["method"] for row in rows} == methods
    assert all(row["n"] > 0 and row["seconds"] > 0 for row in rows)
