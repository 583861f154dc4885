"""Published layouts: small files in the shape of each, in every format, and columns that a user names."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchgrid.core.types import Pair, TokenText
from patchgrid.pairs import ColumnsError, PairFile, PairFileError, parse_columns
from support.engine.layouts import PUBLISHED
from support.storage.pair_files import jsonl, refusal, write

Records = Sequence[Mapping[str, Any]]


def as_csv(records: Records, folder: Path) -> Path:
    """Write what pandas' to_csv does: lists and structs as Python writes them, an index column."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["", *records[0]])
    writer.writerows([number, *record.values()] for number, record in enumerate(records))
    return write(folder, text.getvalue(), "pairs.csv")


def as_jsonl(records: Records, folder: Path) -> Path:
    """Write a record a line."""
    return write(folder, jsonl(*records))


def as_json(records: Records, folder: Path) -> Path:
    """Write one list of records."""
    return write(folder, json.dumps(records, indent=1), "pairs.json")


def as_parquet(records: Records, folder: Path) -> Path:
    """Write columns with the types that the values have."""
    pq.write_table(pa.Table.from_pylist(list(records)), folder / "pairs.parquet")
    return folder / "pairs.parquet"


@pytest.mark.parametrize("make", [as_csv, as_jsonl, as_json, as_parquet])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_layout_is_read_in_every_format(
    tmp_path: Path, name: str, make: Callable[[Records, Path], Path]
) -> None:
    """The same pairs, by the same name, with the same columns left over."""
    published = PUBLISHED[name]
    with PairFile.open(make(published.records, tmp_path)) as file:
        assert list(file) == list(published.pairs)
        summary = file.check()
    assert (summary.layout, summary.unused) == (published.layout, published.unused)
    assert summary.count == len(published.pairs)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_layout_with_a_misspelt_column_is_refused(tmp_path: Path, name: str) -> None:
    """Each of its columns in turn, with the right one."""
    published = PUBLISHED[name]
    for column in published.needed:
        wrong = f"{column[:-2]}{column[-1]}"
        records = [
            {wrong if key == column else key: value for key, value in row.items()}
            for row in published.records
        ]
        for path in (as_csv(records, tmp_path), as_parquet(records, tmp_path)):
            (message,) = refusal(path)
            assert f"{wrong!r} (did you mean {column!r}?)" in message, message


OWN = {"clean": "a b", "corrupted": "a c", "correct": " x", "incorrect": " y"}


@pytest.mark.parametrize("make", [as_csv, as_jsonl, as_json, as_parquet])
def test_columns_that_are_named_are_read(tmp_path: Path, make: Callable[[Records, Path], Path]) -> None:
    """Whatever they are called; those that end in idx hold token ids, in text columns or not."""
    records = [
        {"a": "p q", "b": "p r", "right_idx": 5, "wrong": " y", "key": "one", "clean": "other"},
        {"a": "p q", "b": "p s", "right_idx": 6, "wrong": " z", "key": "two", "clean": "other"},
    ]
    columns = parse_columns(["clean=a,corrupted=b", "correct=right_idx, incorrect=wrong,id=key"])
    with PairFile.open(make(records, tmp_path), columns=columns) as file:
        assert list(file) == [
            Pair("p q", "p r", (5,), (" y",), "one"),
            Pair("p q", "p s", (6,), (" z",), "two"),
        ]
        assert file.check().unused == ("clean",)


def test_a_column_of_token_ids_may_be_called_anything(tmp_path: Path) -> None:
    """Numbers in a table's text are text otherwise."""
    path = as_csv([OWN | {"correct": "5335", "incorrect": "[1, 2]"}], tmp_path)
    (as_text,) = PairFile.open(path)
    assert (as_text.correct, as_text.incorrect) == (("5335",), (1, 2))
    (as_id,) = PairFile.open(path, columns={"correct_idx": "correct"})
    assert as_id.correct == (5335,)


def test_a_published_layouts_column_can_be_replaced(tmp_path: Path) -> None:
    """EAP-IG's second corrupted prompt, another of MIB's counterfactuals with its answer."""
    ioi = PUBLISHED["EAP-IG ioi"]
    (pair, *_) = PairFile.open(as_csv(ioi.records, tmp_path), columns={"corrupted": "corrupted_hard"})
    assert pair.corrupted == ioi.records[0]["corrupted_hard"]
    mcqa = PUBLISHED["MIB mcqa"]
    (pair, *_) = PairFile.open(
        as_jsonl(mcqa.records, tmp_path), columns={"corrupted": "answerPosition_counterfactual"}
    )
    other = mcqa.records[0]["answerPosition_counterfactual"]
    assert pair.corrupted == other["prompt"]
    assert pair.incorrect == (TokenText(other["choices"]["label"][other["answerKey"]]),)


@pytest.mark.parametrize(
    ("columns", "missing"),
    [
        ("clean=prompt,corrupted=other,correct=god,incorrect=bad", "god"),
        ("clean=prompt,corrupted=other,incorrect=bad", "correct"),
    ],
)
def test_columns_that_are_named_speak_for_no_published_layout(
    tmp_path: Path, columns: str, missing: str
) -> None:
    """A file of named columns is not taken for MIB's because one of them is called `prompt`."""
    path = as_jsonl([{"prompt": "a b", "other": "a c", "good": " d", "bad": " e"}], tmp_path)
    with pytest.raises(PairFileError, match=f"unknown field 'good'.*missing '{missing}'"):
        PairFile.open(path, columns=parse_columns([columns])).check()


def test_a_named_column_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    """Once for the file."""
    path = as_csv([OWN | {"country_idx": 5}], tmp_path)
    for columns in ({"correct": "countr_idx"}, {"id": "countr_idx"}):
        with pytest.raises(PairFileError) as refused:
            PairFile.open(path, columns=columns).check()
        problem = "missing column 'countr_idx' (did you mean 'country_idx'?)"
        assert str(refused.value) == f"{path}:1: {problem}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corect=a", r"unknown field 'corect' \(did you mean 'correct'\?\); available: clean, "),
        ("correct", "columns must be FIELD=COLUMN, separated by commas, not 'correct'"),
        ("correct=", "columns must be FIELD=COLUMN"),
        ("", "columns must be FIELD=COLUMN"),
        ("correct=a,correct=b", "columns set 'correct' twice"),
        ("correct=a,incorrect=a", "column 'a' cannot be two fields at once"),
        ("correct=a,correct_idx=b", "columns set both 'correct_idx' and 'correct'"),
    ],
)
def test_columns_in_another_form_are_refused(text: str, message: str) -> None:
    """In one line, with what they should be."""
    with pytest.raises(ColumnsError, match=message):
        parse_columns([text])


def test_the_digest_is_over_the_pairs_however_their_columns_are_called(tmp_path: Path) -> None:
    """A job is the same with `--columns` and without."""
    own = PairFile.open(as_jsonl([OWN], tmp_path)).check()
    named = [{"p": "a b", "q": "a c", "r": " x", "s": " y"}]
    columns = {"clean": "p", "corrupted": "q", "correct": "r", "incorrect": "s"}
    assert PairFile.open(as_csv(named, tmp_path), columns=columns).check().digest == own.digest


def test_lists_in_a_cell_are_json_or_python_and_nothing_else(tmp_path: Path) -> None:
    """What numpy writes looks like a list of one long text."""
    cells = ["['a', \"b's\"]", '["a", "b\'s"]', "['a' 'b']", "[__import__('os')]", "[" * 500, "['a',"]
    answers = []
    for cell in cells:
        path = as_csv([OWN | {"correct": cell}], tmp_path)
        try:
            (pair,) = PairFile.open(path)
            answers.append(pair.correct)
        except Exception as refused:  # noqa: BLE001 (told apart below)
            answers.append(str(refused).split(": ", 1)[1][:45])
    refused_as = "'correct' looks like a JSON list but is not v"
    assert answers == [("a", "b's"), ("a", "b's"), *[refused_as] * 4]


def test_repeated_pairs_are_counted_and_named(tmp_path: Path) -> None:
    """Ids make no difference, answers do."""
    rows = [OWN, OWN | {"id": "x"}, OWN | {"correct": " z"}, OWN, OWN | {"correct": " z"}, OWN]
    summary = PairFile.open(as_jsonl(rows, tmp_path)).check()
    assert (summary.repeated.count, summary.repeated.first) == (4, ((2, 1), (4, 1), (5, 3)))
    note, _ = summary.notes
    assert note.startswith(
        "4 pairs repeat another (lines 2 and 1, 4 and 1, 5 and 3, …): each counts in the means"
    )
    assert PairFile.open(as_jsonl([OWN], tmp_path)).check().repeated.count == 0
