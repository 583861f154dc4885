"""`patchgrid pairs`: published layouts from end to end, what a check shows, files converted."""

import csv
import io
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from patchgrid.cli.execution import tokenizing
from patchgrid.engine import Engine, JobSpec, Pair
from patchgrid.engine.tokenization.file_tokenizer import FileTokenizer
from patchgrid.pairs import PairFile
from support.cli.commands import patchgrid, refused
from support.engine.layouts import PUBLISHED
from support.engine.models import random_model
from support.engine.vocabulary import NAMES, build_tokenizer
from support.storage.pair_files import jsonl, write

#: What published files need that the tests' tokenizer does not have: years, verbs.
_MORE = [
    *(f"{year:02d}" for year in range(100)),
    " are",
    " were",
    " have",
    " do",
    " is",
    " was",
    " has",
    " does",
]
RECORD = {
    "clean": "Mary gave it to",
    "corrupted": "John gave it to",
    "correct": " John",
    "incorrect": " Mary",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny model with a BOS before each text and tokens for years."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer(bos=True)
    tokenizer.add_tokens(_MORE)
    made = random_model("gpt2")
    made.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def checked(*arguments: object, code: int = 0) -> Any:
    """Check a file, and give what is told of it as JSON."""
    result = patchgrid("--json", "pairs", "check", *arguments)
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_layout_goes_from_check_to_export(tmp_path: Path, model: Path, name: str) -> None:
    """As pandas writes it, without a word about its columns."""
    published = PUBLISHED[name]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(published.records[0]))
    writer.writeheader()
    writer.writerows(published.records)
    file = write(tmp_path, text.getvalue(), "pairs.csv")
    found = checked(file, "-m", model)
    assert (found["layout"], found["pairs"]) == (
        published.layout,
        {"total": len(published.pairs), "failing": 0},
    )
    database = tmp_path / "jobs.db"
    ran = patchgrid("--db", database, "run", file, "-m", model, "--exact", "0.2", "--detail", "positions")
    assert ran.exit_code == 0, ran.stderr
    exported = patchgrid("--db", database, "results", "export", "last", "--what", "pairs")
    rows = [json.loads(line) for line in exported.stdout.splitlines()]
    assert [row["state"] for row in rows] == ["done"] * len(published.pairs), exported.stderr
    assert rows[0]["tokens"][: found["samples"][0]["prefix"]] == ["<bos>"]


def test_a_check_tells_what_would_fail_and_why(tmp_path: Path, model: Path) -> None:
    """By kind, with the first lines; lengths, spans, repeats, tokens of the first pairs."""
    lines = [
        RECORD | {"spans": {"name": {"text": [0, 1]}}},
        RECORD | {"corrupted": "John gave it to the"},
        RECORD,
        RECORD | {"correct": " John Tom", "id": "two tokens"},
        *[RECORD | {"corrupted": "John gave it to the dog"}] * 4,
        RECORD | {"clean": "When Mary gave it to", "corrupted": "When John gave it to"},
    ]
    file = write(tmp_path, jsonl(*lines))
    found = checked(file, "-m", model, code=3)
    assert found["pairs"] == {"total": 9, "failing": 6}
    assert [(each["pairs"], each["first"]) for each in found["reasons"]] == [
        (5, ["line 2", "line 5", "line 6"]),
        (1, ["line 4 (two tokens)"]),
    ]
    assert found["tokens"] == {"min": 5, "median": 5, "max": 6}
    assert (found["prefix"], found["repeated"], found["spans"]) == ("<bos>", 4, {"name": 1})
    assert found["samples"][0]["clean"] == ["<bos>", "Mary", " gave", " it", " to"]
    assert (found["samples"][0]["prefix"], found["samples"][0]["correct"]) == (1, [" John"])
    shown = patchgrid("pairs", "check", file, "-m", model)
    assert shown.exit_code == 3
    assert "[<bos>] Mary| gave| it| to" in shown.stdout
    assert "line 2, line 5, line 6: the prompts differ in length" in shown.stderr


def test_answers_given_as_ids_are_shown_with_their_texts(tmp_path: Path, model: Path) -> None:
    """On screen as `results pair` shows them; in JSON every answer has its id."""
    john, mary, anna = (
        AutoTokenizer.from_pretrained(model)(name, add_special_tokens=False).input_ids[0]
        for name in (" John", " Mary", " Anna")
    )
    file = write(tmp_path, jsonl(RECORD | {"correct": [john, " Anna"], "incorrect": mary}))
    (sample,) = checked(file, "-m", model)["samples"]
    assert (sample["correct"], sample["correct_ids"]) == ([" John", " Anna"], [john, anna])
    assert (sample["incorrect"], sample["incorrect_ids"]) == ([" Mary"], [mary])
    shown = patchgrid("pairs", "check", file, "-m", model).stdout
    assert f"{john} (' John'), ' Anna'" in shown
    assert f"{mary} (' Mary')" in shown


def test_a_check_with_forward_says_whether_the_model_does_the_task(tmp_path: Path, model: Path) -> None:
    """The same numbers as the runs that scoring makes."""
    pairs = [
        Pair(f"{name} gave it to", f"{other} gave it to", f" {other}", f" {name}")  # type: ignore[arg-type]
        for name, other in pairwise(NAMES)
    ]
    records = [
        {
            "clean": pair.clean,
            "corrupted": pair.corrupted,
            "correct": pair.correct[0],
            "incorrect": pair.incorrect[0],
        }
        for pair in pairs
    ]
    found = checked(write(tmp_path, jsonl(*records)), "-m", model, "--forward")["task"]
    results = Engine.load(str(model)).attribute(pairs, sites=("z",))
    count = len(pairs)
    assert found["pairs"] == count
    assert found["clean_metric"] == pytest.approx(
        sum(each.clean_metric for each in results) / count, rel=1e-5
    )
    assert found["clean_share"] == sum(each.clean_preference > 0 for each in results) / count
    assert found["corrupted_share"] == sum(each.corrupted_preference < 0 for each in results) / count


def test_a_check_without_forward_never_loads_torch(tmp_path: Path, model: Path) -> None:
    """Nor transformers, where the tokenizer's file is all of it."""
    file = write(tmp_path, jsonl(RECORD))
    code = (
        "import sys\nfrom patchgrid.cli import main\n"
        f"try: main(['pairs', 'check', {str(file)!r}, '-m', {str(model)!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("bos", [True, False])
def test_a_tokenizer_read_from_its_file_is_the_one_that_transformers_makes(tmp_path: Path, bos: bool) -> None:
    """Text by text, with and without special tokens; one with settings of its own is left to transformers."""
    build_tokenizer(bos).save_pretrained(tmp_path)
    alone, whole = FileTokenizer.read(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert alone is not None
    texts = ["Mary gave it to", " John", "<bos>Mary", "é", "the\n dog."]
    for special in (True, False):
        made = whole(texts, add_special_tokens=special).input_ids
        assert alone(texts, add_special_tokens=special).input_ids == made
        assert [alone(text, add_special_tokens=special).input_ids for text in texts] == made
    ids = range(len(whole))
    assert [alone.decode([token]) for token in ids] == [whole.decode([token]) for token in ids]
    assert (alone.bos_token_id, alone.get_vocab()) == (whole.bos_token_id, whole.get_vocab())
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    for change in ({"add_bos_token": True}, {"tokenizer_class": "LlamaTokenizer"}, {"bos_token": "<new>"}):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | change))
        assert FileTokenizer.read(tmp_path) is None


@pytest.mark.parametrize("name", PUBLISHED)
def test_converted_pairs_stay_the_same_through_every_format(tmp_path: Path, name: str) -> None:
    """And so does the job that they would be."""
    published = PUBLISHED[name]
    source, digests = write(tmp_path, jsonl(*published.records)), []
    for step, ending in enumerate((".csv", ".parquet", ".jsonl", ".parquet", ".csv")):
        target = tmp_path / f"{step}{ending}"
        result = patchgrid("pairs", "convert", source, target)
        assert result.exit_code == 0, result.stderr
        with PairFile.open(target) as file:
            assert list(file) == list(published.pairs)
            digests.append(file.check().digest)
        source = target
    assert len(set(digests)) == 1


def test_awkward_texts_survive_a_table(tmp_path: Path) -> None:
    """Quotes, line ends, what begins as a list does, every kind of answer and span."""
    lines = [
        RECORD
        | {"clean": 'a "b",\r\nc', "corrupted": " [1]\n", "correct": ["["], "incorrect": ['{"token": "x"}']},
        RECORD | {"correct": [" a", 5, {"token": "b"}, {"piece": "Ġc"}], "incorrect": 7, "id": "1,2"},
        RECORD | {"spans": {"s": [0, 2], "t": {"text": [1, 2]}}, "correct": "[", "incorrect": "5"},
    ]
    source = write(tmp_path, jsonl(*lines))
    wanted = list(PairFile.open(source))
    for ending in (".csv", ".parquet"):
        target = tmp_path / f"pairs{ending}"
        assert patchgrid("pairs", "convert", source, target).exit_code == 0
        assert list(PairFile.open(target)) == wanted


def test_a_file_that_is_there_is_replaced_when_asked_to_and_never_half(tmp_path: Path) -> None:
    """What is refused leaves nothing behind."""
    source, target = write(tmp_path, jsonl(RECORD)), tmp_path / "out.csv"
    target.write_text("mine")
    assert "already exists; use --force to overwrite it" in refused(
        patchgrid("pairs", "convert", source, target)
    )
    assert target.read_text() == "mine"
    long = write(tmp_path, jsonl(RECORD | {"clean": "a" * 200_000}), "long.jsonl")
    assert "write .jsonl or .parquet" in refused(patchgrid("pairs", "convert", long, target, "--force"))
    assert target.read_text() == "mine"
    assert "the name must end in .csv, .jsonl, .parquet" in refused(
        patchgrid("pairs", "convert", source, tmp_path / "out.txt")
    )
    assert patchgrid("pairs", "convert", source, target, "--force").exit_code == 0
    assert target.read_text().startswith("id,clean,")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.jsonl", "out.csv", "pairs.jsonl"]


def test_what_cannot_be_checked_is_refused(tmp_path: Path, model: Path) -> None:
    """In one line, with exit code 2."""
    file = write(tmp_path, jsonl(RECORD))
    assert "--forward needs a model" in patchgrid("pairs", "check", file, "--forward").stderr
    assert "is not on this machine" in refused(patchgrid("pairs", "check", file, "-m", tmp_path / "none"))
    wrong = patchgrid("pairs", "check", file, "-m", model, "--columns", "corect=a")
    assert "unknown field 'corect' (did you mean 'correct'?)" in refused(wrong)
    assert patchgrid("pairs", "check", file).exit_code == 0


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_pairs_are_counted_and_named_through_all_batches(
    batch: int, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the line they are on, whatever batch they are in."""
    monkeypatch.setattr(tokenizing, "_BATCH", batch)
    loaded, _ = tokenizing.load_tokenizer(JobSpec(model=str(model)))
    assert loaded is not None
    answers = [*[" John"] * 4, "John", " John Tom", " Tom Anna", "Tom"]
    pairs = [
        (line, Pair("Mary gave it to", "John gave it to", answer, " Mary"))  # type: ignore[arg-type]
        for line, answer in enumerate(answers, 2)
    ]
    found = tokenizing.tokenize(loaded, iter(pairs), "line")
    (reason,) = found.reasons.values()
    assert (found.failing, reason.count, reason.places) == (2, 2, ["line 7", "line 8"])
    assert reason.example == "correct answer ' John Tom' is 2 tokens after the prompt, not one"
    (warning,) = found.warnings.values()
    assert (warning.count, warning.example.endswith("did you mean ' John'?")) == (2, True)
    assert found.length_range() == (5, 5, 5)
    nothing = tokenizing.tokenize(loaded, iter([]), "line")
    assert (nothing.failing, nothing.length_range()) == (0, None)


def test_a_job_of_named_columns_is_the_job_of_their_pairs(tmp_path: Path, model: Path) -> None:
    """Run once, known again however the columns are called; a wrong name is refused first."""
    database = tmp_path / "jobs.db"
    own = write(tmp_path, jsonl(RECORD))
    rows = "a,b,right,wrong\nMary gave it to,John gave it to, John, Mary\n"
    named = write(tmp_path, rows, "named.csv")
    ran = patchgrid("--db", database, "run", own, "-m", model, "--sites", "z")
    assert ran.exit_code == 0, ran.stderr
    columns = ("--columns", "clean=a,corrupted=b", "--columns", "correct=right,incorrect=wrong")
    again = patchgrid("--db", database, "run", named, "-m", model, "--sites", "z", *columns)
    assert "already measured these pairs with these settings" in again.stderr
    wrong = patchgrid("--db", database, "submit", named, "-m", model, "--columns", "correct=rigt")
    assert "missing column 'rigt' (did you mean 'right'?)" in refused(wrong)
