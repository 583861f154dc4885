"""From a pair file to stored results with one command."""

import json
import re
import shutil
from pathlib import Path

import pytest

from patchgrid.cli.terminal import progress
from patchgrid.core import packages
from patchgrid.storage.output.export import FIELDS
from support.cli.commands import FinishedJob, patchgrid, refused, write_pairs
from support.engine.models import save_model


def test_a_run_ends_with_the_top_components_and_the_verification(finished: FinishedJob) -> None:
    """Tables on stdout; words, among them where to see more, on stderr."""
    out, err = finished.result.stdout, finished.result.stderr
    assert "Top components: atp, logit_diff, denoise" in out
    assert re.search(r"95% interval .*\n.*\n.* ± [0-9.]+ ", out)
    header = next(line for line in out.splitlines() if line.startswith("site"))
    assert header.split() == ["site", "patched", "Pearson", "slope", "same", "sign", "top", "k"]
    assert {"z", "mlp_out", "resid_post"} <= {line.split(" ")[0] for line in out.splitlines()}
    assert "Job 1 (shared) done: 10 pairs measured in" in err
    assert "More: patchgrid results top 1 --db" in err


def test_a_run_with_failed_pairs_names_the_first_and_exits_with_3(finished: FinishedJob) -> None:
    """A script can tell some failed pairs from success and from failure."""
    assert finished.result.exit_code == 3
    assert "2 failed" in finished.result.stderr
    assert "pair pair-10: " in finished.result.stderr


def test_json_is_all_that_stdout_holds(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """`run --json` can be piped into a program."""
    result = patchgrid("run", pairs, "-m", tiny_model, "--db", tmp_path / "a.db", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["job"] == 1
    assert document["state"] == "done"
    assert document["pairs"] == {"total": 4, "done": 4, "failed": 0, "skipped": 0}
    assert [row["site"] for row in document["verification"]] == ["z", "mlp_out"]
    assert set(FIELDS["components"]) <= set(document["top"][0])
    assert len(document["key"]) == 64
    assert document["seconds"] > 0


def test_a_finished_job_shows_its_results_without_measuring_again(
    finished: FinishedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command is safe to repeat, from any folder, and loads no model."""
    monkeypatch.setitem(packages.EXTRAS, "model", ("a_package_that_nobody_has",))
    monkeypatch.chdir(finished.model.parent)
    again = [finished.model.name if part == finished.model else part for part in finished.command]
    result = patchgrid(*again)
    assert result.exit_code == 3
    assert "Job 1 already measured these pairs with these settings" in result.stderr
    assert result.stdout == finished.result.stdout


def test_a_finished_job_is_not_shown_for_a_model_folder_whose_weights_changed(
    pairs: Path, tmp_path: Path
) -> None:
    """A checkpoint that was written over is another model, whatever its folder is called."""
    folder = save_model("gpt2", tmp_path / "first", seed=1).folder
    command = ("run", pairs, "-m", folder, "--db", tmp_path / "jobs.db", "--exact", 0)
    assert patchgrid(*command).exit_code == 0
    other = save_model("gpt2", tmp_path / "second", seed=2).folder
    shutil.copy(other / "model.safetensors", folder / "model.safetensors")
    assert "job 1 was started with different weights" in refused(patchgrid(*command))


def test_another_spec_is_another_job(finished: FinishedJob, tmp_path: Path) -> None:
    """What is measured is the job's identity; the device and batches are not."""
    spec = (
        "run",
        finished.pairs,
        "-m",
        finished.model,
        "--db",
        tmp_path / "a.db",
        "--exact",
        0,
        "--limit",
        2,
    )
    first = json.loads(patchgrid(*spec, "--json").stdout)
    same = json.loads(patchgrid(*spec, "--json", "--batch-tokens", 7, "--device", "cpu").stdout)
    other = json.loads(patchgrid(*spec, "--json", "--seed", 1).stdout)
    assert (first["job"], same["job"], other["job"]) == (1, 1, 2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-m", "./nowhere"), "no model folder at"),
        (("-m", "/nowhere/model"), "no model folder at /nowhere/model"),
        (("-m", "{model}"), "needs torch"),
    ],
)
def test_a_run_that_cannot_begin_creates_no_database(
    tiny_model: Path,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    reason: str,
) -> None:
    """Without the model's folder, or the packages that run it."""
    if reason == "needs torch":
        monkeypatch.setattr(packages, "is_installed", lambda name: name != "torch")
    words = [word.format(model=tiny_model) for word in options]
    result = patchgrid("run", pairs, *words, "--db", tmp_path / "a.db")
    assert reason in refused(result)
    assert "Hub" not in result.stderr
    assert not (tmp_path / "a.db").exists()


def test_without_exact_patching_the_means_are_shown_alone(
    tiny_model: Path, pairs: Path, tmp_path: Path
) -> None:
    """`--exact 0` has no estimates, no intervals and no verification."""
    spec = ("run", pairs, "-m", tiny_model, "--db", tmp_path / "a.db", "--exact", 0, "--detail", "summary")
    out = patchgrid(*spec).stdout
    assert "mean score" in out
    assert "interval" not in out
    assert "Pearson" not in out
    top = patchgrid("results", "top", "last", "--db", tmp_path / "a.db")
    assert "not verified" in top.stderr


def test_a_job_whose_pairs_all_fail_exits_with_1(tiny_model: Path, tmp_path: Path) -> None:
    """Nothing measured is a failure, and it says why."""
    pairs = write_pairs(tmp_path / "bad.jsonl", 0, failing=2)
    result = patchgrid("run", pairs, "-m", tiny_model, "--db", tmp_path / "a.db")
    assert result.exit_code == 1
    assert "Job 1 failed: 0 pairs measured" in result.stderr
    assert "pair pair-0: " in result.stderr


def test_pairs_come_from_standard_input(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    """`-` reads what another program writes."""
    database = tmp_path / "a.db"
    result = patchgrid("run", "-", "-m", tiny_model, "--db", database, "--json", text=pairs.read_text())
    assert json.loads(result.stdout)["pairs"]["done"] == 4


def test_notes_and_warnings_are_said_once(tiny_model: Path, tmp_path: Path) -> None:
    """An answer without its space gets one line for all pairs, with their number."""
    pairs = write_pairs(tmp_path / "pairs.jsonl", 3)
    text = (
        pairs.read_text().replace('"incorrect": " ', '"incorrect": "').replace("gave a ball to", "gave the")
    )
    pairs.write_text(text.replace('"correct": " ', '"correct": "'))
    result = patchgrid("run", pairs, "-m", tiny_model, "--db", tmp_path / "a.db")
    notes = [line for line in result.stderr.splitlines() if line.startswith("Note (3 pairs)")]
    assert len(notes) == 1, result.stderr


def test_the_pace_says_how_many_how_fast_and_how_long() -> None:
    """The rate counts what this run did, not what was done before it."""
    times = iter([100.0, 110.0, 110.0])
    clock = progress.Clock(1300, 100, lambda: next(times))
    from patchgrid.workers.runner import RunProgress

    words = clock.pace(RunProgress(done=195, failed=5, skipped=5, in_flight=15.0)).words
    assert words == "220 of 1,300 pairs, 12.0 pairs/s, 1 min 30 s left, 5 failed, 5 skipped"
    assert clock.pace(RunProgress(done=100, failed=0, skipped=0, in_flight=0.0)).words == "100 of 1,300 pairs"


def test_a_round_s_pace_counts_from_its_first_report() -> None:
    """Pairs without a cell to patch are done by then; their number says nothing of the round's speed."""
    times = iter([100.0, 110.0, 110.0, 120.0])
    clock = progress.Clock(300, 0, lambda: next(times))
    from patchgrid.workers.runner import RunProgress

    reports = (RunProgress(done, failed=0, skipped=0, in_flight=0.0, round=1) for done in (266, 286))
    first, later = reports
    assert clock.pace(first).words == "round 1: 266 of 300 pairs"
    assert clock.pace(later).words == "round 1: 286 of 300 pairs, 2.00 pairs/s, 7.0 s left"
