"""The model, the database and the machine: `model check`, `db`, `doctor`, `demo`."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from patchgrid.cli.commands import demo
from patchgrid.cli.execution import health
from support.cli.commands import FinishedJob, patchgrid, refused, write_pairs
from support.engine.vocabulary import build_tokenizer
from support.machines.servers import Redis, free_port


def test_model_check_tells_what_was_found(tiny_model: Path) -> None:
    """Sizes, sites, number type, and both checks."""
    result = patchgrid("model", "check", tiny_model, "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert (facts["model_type"], facts["layers"], facts["heads"]) == ("gpt2", 3, 4)
    assert facts["dtype"] == "float32"
    assert (facts["kv_heads"], facts["head_dim"], facts["found_by"]) == (4, 8, "record")
    assert "resid_mid" in facts["sites"]
    assert (facts["missing_sites"], all(facts["shortcuts"].values())) == ({}, True)
    errors = {check["name"]: check["error"] for check in facts["checks"]}
    assert set(errors) == {
        "parts add up",
        "slope of z, layer 1",
        "slope of mlp_out, layer 1",
        "slope of resid_pre, layer 0",
        "patch of everything",
    }
    assert errors["patch of everything"] < 1e-4
    assert all(check["ok"] for check in facts["checks"])
    assert facts["ok"] is True
    text = patchgrid("model", "check", tiny_model)
    assert text.stdout.count("  pass  ") == len(errors)


def test_a_model_s_checks_are_told_once_and_model_check_always_makes_them(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run says nothing of them; `model check` never takes what is remembered."""
    monkeypatch.setenv("PATCHGRID_CACHE", str(tmp_path / "cache"))
    pairs = write_pairs(tmp_path / "pairs.jsonl", 3)
    runs = [
        patchgrid("run", pairs, "--model", tiny_model, "--db", tmp_path / f"{number}.db").stderr
        for number in range(2)
    ]
    checks = [patchgrid("model", "check", tiny_model).stderr for _ in range(2)]
    said = f"Checking {tiny_model}"
    assert [said in text for text in (*runs, *checks)] == [True, False, True, True]
    cached = f"{said} (first load only; the results are cached)"
    assert [cached in text for text in (*runs, *checks)] == [True, False, False, False]


def test_model_check_fails_where_scores_are_not_the_slopes(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1; the check that failed is named."""
    monkeypatch.setattr("patchgrid.engine.modelcheck._slope", lambda *_: 0.5)
    result = patchgrid("model", "check", tiny_model)
    assert result.exit_code == 1
    assert "FAIL" in result.stdout
    assert "this model is not supported" in result.stderr
    assert "slope of z, layer 1" in result.stderr
    assert json.loads(patchgrid("model", "check", tiny_model, "--json").stdout)["ok"] is False


def test_model_check_leaves_out_what_a_number_type_is_too_coarse_for(tiny_model: Path) -> None:
    """bfloat16 cannot tell small steps apart: what would do is named, and nothing fails."""
    result = patchgrid("model", "check", tiny_model, "--dtype", "bfloat16")
    assert result.exit_code == 0
    assert result.stdout.count("--dtype float32") == 3


def test_model_check_refuses_a_model_without_attention(tmp_path: Path) -> None:
    """Exit code 2, with what is missing."""
    config = AutoConfig.for_model("mamba", vocab_size=80, hidden_size=32, state_size=4, num_hidden_layers=2)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    result = patchgrid("model", "check", tmp_path)
    assert result.exit_code == 2
    assert "no list of blocks that contain attention" in result.stderr


def test_upgrade_and_check_of_a_sound_database(finished: FinishedJob) -> None:
    """Nothing to do, nothing wrong."""
    assert "already" in finished.ask("db", "upgrade").stderr
    result = finished.ask("db", "check")
    assert result.exit_code == 0
    assert "1 job, 1 chunk," in result.stderr
    assert "0 problems found" in result.stderr
    assert finished.ask_json("db", "check")["problems"] == []


def test_check_names_what_is_damaged(finished: FinishedJob, tmp_path: Path) -> None:
    """Exit code 1, a line a problem."""
    path = tmp_path / "damaged.db"
    shutil.copy(finished.database, path)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE scores SET data = CAST(substr(data, 1, length(data) - 1) || x'00' AS BLOB)"
        )
    connection.close()
    result = patchgrid("db", "check", "--db", path)
    assert result.exit_code == 1
    assert "scores" in result.stdout
    assert "Traceback" not in result.output


def test_the_doctor_finds_this_machine_able(finished: FinishedJob) -> None:
    """All that the tests need is here."""
    lines = finished.ask_json("doctor")
    found = {line["what"]: line for line in lines}
    assert {"patchgrid", "torch", "nnsight", "sqlalchemy", "memory", "threads", "database"} <= set(found)
    assert found["torch"]["status"] == found["database"]["status"] == "ok"
    text = finished.ask("doctor").stdout
    assert text.splitlines()[0].split() == ["status", "what", "found", "what", "to", "do"]


def test_the_doctor_says_what_to_do_about_what_is_wrong(tmp_path: Path) -> None:
    """Exit code 1."""
    result = patchgrid("doctor", "--db", tmp_path / "no" / "folder" / "a.db")
    assert result.exit_code == 1
    line = next(line for line in result.stdout.splitlines() if line.startswith("fail"))
    assert "create the folder" in line


def test_the_doctor_takes_a_database_yet_to_be_made_for_well(tmp_path: Path) -> None:
    """And does not make it."""
    result = patchgrid("doctor", "--db", tmp_path / "a.db")
    assert result.exit_code == 0
    assert "does not exist yet" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_asks_the_broker(finished: FinishedJob, redis: Redis) -> None:
    """One that is away, or wants another password, is a warning; a URL that cannot be used fails."""
    wrong = redis.url.replace("open-sesame", "wrong-word")
    away = f"redis://:wrong-word@127.0.0.1:{free_port()}/0"
    for url, status, code in (
        (redis.url, "ok", 0),
        (wrong, "warn", 0),
        (away, "warn", 0),
        ("x://h", "fail", 1),
    ):
        result = finished.ask("doctor", "--broker", url, "--json")
        assert result.exit_code == code, result.stderr
        (line,) = [line for line in json.loads(result.stdout) if line["what"] == "broker"]
        assert line["status"] == status, line
        assert bool(line["advice"]) == (status != "ok")
        assert "wrong-word" not in result.output
        assert "open-sesame" not in result.output


def test_the_doctor_misses_packages_and_wrong_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent extra is one line and a warning, a package of the base that is missing or old a failure."""
    needs = ["none-a>=1", "click>=1000", "none-b>=1; extra == 'model'", "none-c; extra == 'model'"]
    monkeypatch.setattr(health, "requires", lambda _name: needs)
    _, base, old, extra = health._packages()
    assert (base.status, base.found, base.advice) == ("fail", "not installed", "pip install patchgrid")
    assert old.status == "fail"
    assert "click>=1000 is needed" in old.found
    assert (extra.status, extra.what, extra.advice) == ("warn", "[model]", "pip install 'patchgrid[model]'")
    assert extra.found == "not installed (none-b, none-c); needed for running models"


@pytest.fixture
def small_demo(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a tiny model and a few pairs where the demo looks."""
    place = tmp_path / "examples"
    shutil.copytree(tiny_model, place / demo.MODEL)
    (place / "pairs").mkdir()
    write_pairs(place / demo.PAIRS, 4)
    monkeypatch.setattr(demo, "PLACES", (tmp_path / "nothing", place))
    monkeypatch.chdir(tmp_path)
    return place


@pytest.mark.usefixtures("small_demo")
def test_the_demo_ends_with_tables_and_two_pictures(tmp_path: Path) -> None:
    """In a folder of its own; a second time it only shows them."""
    result = patchgrid("demo", "--out", "out")
    assert result.exit_code == 0, result.stderr
    assert "Top components" in result.stdout
    assert "Scores against exact patching" in result.stdout
    pictures = [tmp_path / "out" / name for name in ("heads.png", "score-against-exact.png")]
    assert all(f"Wrote {Path('out') / picture.name}" in result.stderr for picture in pictures)
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert "results top 1 --db out/demo.db" in result.stderr
    again = patchgrid("demo", "--out", "out")
    assert (again.exit_code, again.stdout) == (0, result.stdout)


def test_the_demo_says_where_its_files_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When an installation lacks them."""
    monkeypatch.setattr(demo, "PLACES", (tmp_path,))
    assert "under examples/" in refused(patchgrid("demo", "--out", tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_the_demos_own_files_are_there() -> None:
    """A checkout has them."""
    place = demo.find_demo()
    assert (place / demo.MODEL / "model.safetensors").is_file()
