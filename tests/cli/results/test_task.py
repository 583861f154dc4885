"""Whether the model does the task, on every screen; skipped pairs; shares."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from support.cli.commands import patchgrid, refused
from support.engine.models import DEMO_MODEL

PAIRS = DEMO_MODEL.parent / "pairs" / "ioi.jsonl"
LINE = re.compile(
    r"Task: clean (\S+), corrupted (\S+) \(logit_diff\); "
    r"clean prefers the correct answer in (\d+) % of 10 pairs, corrupted the other in (\d+) %"
)


def records(path: Path = PAIRS, count: int = 10) -> list[dict[str, Any]]:
    """Read the first pairs of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:count]]


def written(path: Path, pairs: list[dict[str, Any]]) -> Path:
    """Write a pair file."""
    path.write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs), encoding="utf-8")
    return path


def swapped(pair: dict[str, Any]) -> dict[str, Any]:
    """Return a pair with its sides swapped."""
    return pair | {"clean": pair["corrupted"], "corrupted": pair["clean"]}


class Ran:
    """A database with one job of the demo model."""

    def __init__(self, folder: Path, pairs: list[dict[str, Any]], *options: object) -> None:
        self.database = folder / "jobs.db"
        file = written(folder / "pairs.jsonl", pairs)
        self.result = patchgrid("run", file, "-m", DEMO_MODEL, "--db", self.database, *options)

    def ask(self, *arguments: object) -> Result:
        """Run a command on the database."""
        return patchgrid(*arguments, "--db", self.database)

    def ask_json(self, *arguments: object) -> Any:
        """Run a command on the database, and read its JSON."""
        return json.loads(self.ask(*arguments, "--json").stdout)

    def ask_items(self, *arguments: object) -> Any:
        """Run a command that prints a document with a list, and give the list."""
        return self.ask_json(*arguments)["items"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Return a job of ten pairs, of which two have their sides swapped."""
    pairs = [swapped(pair) if row in (2, 5) else pair for row, pair in enumerate(records())]
    return Ran(tmp_path_factory.mktemp("task"), pairs)


def test_every_summary_says_it_before_its_numbers(ran: Ran) -> None:
    """With the shares of the pairs as they are exported."""
    found = LINE.search(ran.result.stderr)
    assert found is not None, ran.result.stderr
    rows = list(
        csv.DictReader(
            ran.ask("results", "export", 1, "--what", "pairs", "--format", "csv").stdout.splitlines()
        )
    )
    clean = [float(row["clean_preference"]) for row in rows]
    corrupted = [float(row["corrupted_preference"]) for row in rows]
    assert int(found[3]) == 10 * sum(value > 0 for value in clean)
    assert int(found[4]) == 10 * sum(value < 0 for value in corrupted)
    mean = sum(float(row["clean_metric"]) for row in rows) / 10
    assert float(found[1]) == pytest.approx(mean, rel=0.005)
    for command in (("job", "show", 1), ("results", "top", 1), ("results", "verify", 1)):
        result = ran.ask(*command)
        assert found[0] in result.stderr, command
    document = ran.ask_json("job", "show", 1)["task"]
    assert (document["line"], document["clean_metric"]) == (found[0], pytest.approx(mean))


def test_swapped_pairs_are_counted_and_named(ran: Ran) -> None:
    """The demo model does its own task, so these two stand out."""
    names = [pair["id"] for pair in records()]
    assert "2 pairs may have clean and corrupted swapped" in ran.result.stderr
    assert f"first: {names[2]}, {names[5]}" in ran.result.stderr
    assert ran.ask_json("job", "show", 1)["task"]["swapped_pairs"] == [names[2], names[5]]


def test_a_pair_says_what_both_runs_prefer(ran: Ran) -> None:
    """And by how much."""
    text = ran.ask("results", "pair", 1, 2).stdout
    assert re.search(r"clean prefers +incorrect \(by ", text), text
    assert re.search(r"corrupted prefers +correct \(by ", text), text


def test_only_correct_skips_and_says_so(tmp_path: Path) -> None:
    """Exit code 0: that is what was asked for. The sums are those of the job without the skipped pairs."""
    pairs = records()
    mixed = [swapped(pair) if row in (2, 5) else pair for row, pair in enumerate(pairs)]
    ran = Ran(tmp_path, mixed, "--only-correct")
    assert ran.result.exit_code == 0, ran.result.stderr
    assert "8 pairs measured" in ran.result.stderr
    assert "2 skipped" in ran.result.stderr
    assert "clean prefers the correct answer in 80 % of 10 pairs" in ran.result.stderr
    assert "2 skipped" in ran.ask("job", "show", 1).stdout
    assert ran.ask_json("job", "list")[0]["pairs"] == {"total": 10, "done": 8, "failed": 0, "skipped": 2}
    rows = [
        json.loads(line) for line in ran.ask("results", "export", 1, "--what", "pairs").stdout.splitlines()
    ]
    assert [row["pair"] for row in rows if row["state"] == "skipped"] == [pairs[2]["id"], pairs[5]["id"]]
    assert "was skipped" in ran.ask("results", "pair", 1, 2).stderr
    assert {row["n"] for row in ran.ask_items("results", "top", 1)} == {8}
    assert ran.ask("db", "check").exit_code == 0


def test_ids_of_another_tokenizer_are_seen(tmp_path: Path) -> None:
    """Inside the vocabulary: the answers' texts stand beside the ids, and nobody prefers them."""
    pairs = [pair | {"correct": [7 + row], "incorrect": [90 - row]} for row, pair in enumerate(records())]
    ran = Ran(tmp_path, pairs)
    first = ran.ask_json("job", "show", 1)["task"]["answers"][0]
    assert re.fullmatch(r"7 \('.*'\) not 90 \('.*'\)", first)
    assert first in ran.result.stderr
    assert re.search(r"correct +7 \('", ran.ask("results", "pair", 1, 0).stdout)


def test_ids_outside_the_vocabulary_are_counted_in_one_line(tmp_path: Path) -> None:
    """Beside the failure of each pair."""
    pairs = [pair | ({"correct": [10**6 + row]} if row > 6 else {}) for row, pair in enumerate(records())]
    ran = Ran(tmp_path, pairs)
    assert ran.result.exit_code == 3
    [line] = [line for line in ran.result.stderr.splitlines() if "outside the model's vocabulary" in line]
    assert line.startswith("Warning: 3 pairs failed")
    assert pairs[7]["id"] in line


def test_tables_and_exports_as_shares(ran: Ran) -> None:
    """Of the difference that the summary tells."""
    task = ran.ask_json("job", "show", 1)["task"]
    by = task["clean_metric"] - task["corrupted_metric"]
    rows, shares = (ran.ask_items("results", "top", 1, *more) for more in ((), ("--normalise",)))
    assert [row["estimate"] for row in shares] == pytest.approx([row["estimate"] / by for row in rows])
    assert (
        "shares of the mean clean - corrupted logit_diff"
        in ran.ask("results", "top", 1, "--normalise").stderr
    )
    exported = ran.ask("results", "export", 1, "--normalise", "--format", "csv").stdout
    assert float(next(csv.DictReader(exported.splitlines()))["divided_by"]) == pytest.approx(by)
    bias, share = (ran.ask_items("results", "verify", 1, *more)[0]["bias"] for more in ((), ("--normalise",)))
    assert share == pytest.approx(bias / by)
    floor = ran.ask_json("job", "show", 1)["rounding"]["floor"] / abs(by)
    said = ran.ask("results", "verify", 1, "--normalise").stderr
    assert f"Rounding floor: ±{floor:.1g} of clean - corrupted for one cell" in said
    pair = ran.ask_json("results", "pair", 1, 0)
    own = pair["clean_metric"] - pair["corrupted_metric"]
    found = ran.ask_json("results", "pair", 1, 0, "--normalise")
    assert found["top"][0]["score"] == pytest.approx(pair["top"][0]["score"] / own)


def test_a_difference_of_0_is_refused(tmp_path: Path) -> None:
    """In one line, with both means: each pair is there both ways round."""
    pair = records()[0]
    both = [pair, swapped(pair) | {"id": "swapped"}]
    ran = Ran(tmp_path, both)
    assert ran.result.exit_code == 0
    assert "clean - corrupted logit_diff is 0" in refused(ran.ask("results", "top", 1, "--normalise"))


def test_a_picture_of_shares_says_so(ran: Ran, tmp_path: Path) -> None:
    """On its colour bar."""
    result = ran.ask("results", "plot", 1, "--normalise", "-o", tmp_path / "a.svg")
    assert result.exit_code == 0, result.stderr
    assert "share of clean" in (tmp_path / "a.svg").read_text(encoding="utf-8")
