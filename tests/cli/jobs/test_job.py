"""Listing, showing and deleting jobs."""

import json
import shutil
from pathlib import Path

import pytest

from support.cli.commands import FinishedJob, patchgrid, write_pairs


def test_the_list_has_a_line_a_job(finished: FinishedJob) -> None:
    """Id, name, state, model, how far, when."""
    lines = finished.ask("job", "list").stdout.splitlines()
    assert lines[0].split() == ["id", "name", "state", "model", "pairs", "done", "failed", "created"]
    assert lines[2].split()[:6] == ["1", "shared", "done", "gpt2", "10/12", "2"]
    (row,) = finished.ask_json("job", "list")
    assert (row["job"], row["name"], row["pairs"]) == (
        1,
        "shared",
        {"total": 12, "done": 10, "failed": 2, "skipped": 0},
    )


def test_a_database_without_jobs_says_how_to_start_one(finished: FinishedJob, tmp_path: Path) -> None:
    """An empty list is no error; a job that is asked for is one."""
    path = tmp_path / "a.db"
    shutil.copy(finished.database, path)
    patchgrid("job", "delete", 1, "--yes", "--db", path)
    listed = patchgrid("job", "list", "--db", path)
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "patchgrid run" in listed.stderr
    assert "no jobs yet" in patchgrid("job", "show", "last", "--db", path).stderr


@pytest.mark.parametrize("name", ["1", "shared", "last"])
def test_show_tells_what_was_measured_and_what_made_it(name: str, finished: FinishedJob) -> None:
    """By id, by name, or the newest."""
    text = finished.ask("job", "show", name).stdout
    facts = dict(line.split(None, 1) for line in text.splitlines() if len(line.split(None, 1)) == 2)
    assert facts["state"] == "done"
    assert facts["pairs"] == "12: 10 done, 2 failed, 0 left"
    assert facts["sites"] == "z, mlp_out, resid_post"
    assert facts["exact"] == "0.3"
    assert "torch" in facts["made"]
    assert len(facts["weights"]) == 64
    assert "Pearson" in text


def test_show_as_json_has_the_spec_and_the_provenance(finished: FinishedJob) -> None:
    """For programs."""
    document = finished.ask_json("job", "show", 1)
    assert document["spec"]["model"] == str(finished.model)
    assert document["spec"]["exact"] == 0.3
    assert document["provenance"][0]["dtype"] == "float32"
    assert len(document["verification"]) == 3


def test_errors_lists_every_failed_pair_with_its_reason(finished: FinishedJob) -> None:
    """In the order of the file."""
    rows = finished.ask_json("job", "errors", 1)
    assert [row["pair"] for row in rows] == ["pair-10", "pair-11"]
    assert all("tokens" in row["error"] for row in rows)
    assert "pair-11" in finished.ask("job", "errors", "shared").stdout


def test_resume_of_a_finished_job_shows_its_results(finished: FinishedJob) -> None:
    """There is nothing to measure."""
    result = finished.ask("job", "resume", 1)
    assert result.exit_code == 3
    assert "is complete; showing its results" in result.stderr
    assert result.stdout == finished.result.stdout


def test_delete_asks_first(finished: FinishedJob, tmp_path: Path) -> None:
    """No, and no answer at all, leave everything as it was."""
    path = tmp_path / "a.db"
    shutil.copy(finished.database, path)
    for answer in ("n\n", ""):
        result = patchgrid("job", "delete", "shared", "--db", path, text=answer)
        assert result.exit_code == 1
        assert "Delete job 1 (shared), 12 pairs" in result.stderr
        assert patchgrid("job", "show", 1, "--db", path).exit_code == 0
    assert patchgrid("job", "delete", "shared", "--db", path, text="y\n").exit_code == 0
    assert patchgrid("job", "show", 1, "--db", path).exit_code == 2


def test_two_jobs_of_one_name_are_told_apart_by_id(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """The message gives the ids."""
    database = tmp_path / "a.db"
    for seed in (1, 2):
        patchgrid("run", pairs, "-m", tiny_model, "--db", database, "--seed", seed, "--name", "twin")
    result = patchgrid("job", "show", "twin", "--db", database)
    assert result.exit_code == 2
    assert "give an id (1, 2)" in result.stderr


def test_the_database_may_be_named_before_the_command_or_by_the_environment(
    finished: FinishedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a path or a URL."""
    url = f"sqlite:///{finished.database}"
    assert json.loads(patchgrid("--db", url, "--json", "job", "list").stdout)[0]["job"] == 1
    from click.testing import CliRunner

    from patchgrid.cli import main

    found = CliRunner(env={"PATCHGRID_DB": str(finished.database)}).invoke(main, ["job", "list", "--json"])
    assert json.loads(found.stdout)[0]["job"] == 1


def test_control_characters_do_not_reach_the_terminal(tiny_model: Path, tmp_path: Path) -> None:
    """A name or prompt can hold anything; the screen shows it escaped."""
    pairs, database = write_pairs(tmp_path / "pairs.jsonl", 1), tmp_path / "a.db"
    pairs.write_text(pairs.read_text().replace("gave", "\\u001b[31m gave"))
    run = patchgrid("run", pairs, "-m", tiny_model, "--db", database, "--name", "\x1b[31mred")
    listed = patchgrid("job", "list", "--db", database)
    shown = patchgrid("results", "pair", 1, 0, "--db", database)
    for text in (run.output, listed.output, shown.output):
        assert "\x1b" not in text
        assert "\\x1b[31m" in text
