"""What is wrong with a file as data: line by line, each thing with its field."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchgrid.pairs import BadLine, PairFile, PairFileError
from support.storage.pair_files import jsonl, record, write

HEADER = "id,clean,corrupted,correct,incorrect,spans\n"


def refused(path: Path | str, *, limit: int | None = None) -> PairFileError:
    """Return the error of a refused file, after checking it against its own message."""
    with pytest.raises(PairFileError) as caught, PairFile.open(path, limit=limit) as file:
        file.check()
    error = caught.value
    by_place: dict[Any, list[str]] = {}
    for line in error.lines:
        by_place.setdefault(line.number, []).append(line.problem)
    message = str(error).split("\n")
    told = [f": {'; '.join(problems)}" for problems in by_place.values()]
    assert len(told) <= len(message)
    assert all(line.endswith(end) for line, end in zip(message, told, strict=False))
    assert {type(line.problem) for line in error.lines} <= {str}
    return error


def fields(error: PairFileError) -> list[tuple[int | None, str | None]]:
    """Return the row number and field of each problem."""
    return [(line.number, line.field) for line in error.lines]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"clean": ...}, "clean"),
        ({"clean": ""}, "clean"),
        ({"corrupted": 5}, "corrupted"),
        ({"corrupted": "a\0"}, "corrupted"),
        ({"corrupted": "Mary and John; John gave to"}, "corrupted"),
        ({"correct": ...}, "correct"),
        ({"correct": []}, "correct"),
        ({"correct": " John"}, "correct"),
        ({"incorrect": None}, "incorrect"),
        ({"incorrect": ["a", "a"]}, "incorrect"),
        ({"incorrect": ["a", -1]}, "incorrect"),
        ({"incorrect": ""}, "incorrect"),
        ({"id": 1.5}, "id"),
        ({"id": ""}, "id"),
        ({"id": "x" * 201}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"spans": 5}, "spans"),
        ({"spans": {"": [0, 1]}}, "spans"),
        ({"spans": {"a": [2, 1]}}, "spans"),
        ({"span": 5}, None),
    ],
)
def test_each_problem_of_a_pair_names_its_field(
    tmp_path: Path, changes: dict[str, Any], field: str | None
) -> None:
    """And its line."""
    error = refused(write(tmp_path, jsonl(record(1), record(0, **changes), record(2))))
    assert fields(error) == [(2, field)]
    assert error.lines[0].unit == "line"


def test_several_problems_of_a_line_are_told_apart(tmp_path: Path) -> None:
    """In the order of the message."""
    error = refused(write(tmp_path, jsonl(record(corrupted="", correct=None, id=[]), b"{", record())))
    assert error.lines == (
        BadLine(1, "line", "corrupted", "'corrupted' is empty"),
        BadLine(1, "line", "correct", "'correct' is null"),
        BadLine(1, "line", "id", "'id' must be text or a whole number, not a list"),
        BadLine(2, "line", None, str(error).split("\n")[1].split(":2: ")[1]),
    )


@pytest.mark.parametrize("line", [b"[1]", b"\xff", b'{"a": NaN}', b'{"clean": 1, "clean": 2}', b"{}\0"])
def test_a_line_that_cannot_be_read_is_about_no_field(tmp_path: Path, line: bytes) -> None:
    """Broken JSON, bytes that are no text."""
    assert fields(refused(write(tmp_path, jsonl(record(), line)))) == [(2, None)]


def test_what_lines_have_between_them_is_about_a_field(tmp_path: Path) -> None:
    """An id given twice, a row number that is another's id, too many names of spans."""
    spans = {f"name {number}": [0, 1] for number in range(257)}
    lines = (record(id="a"), record(1, id="a"), record(2, id="3"), record(), record(spans=spans))
    error = refused(write(tmp_path, jsonl(*lines)))
    assert fields(error) == [(2, "id"), (4, "id"), (5, "spans")]


def csv(content: str) -> Callable[[Path], Path]:
    """Return a function that writes a CSV file."""
    return lambda folder: write(folder, content, "pairs.csv")


def autocircuit(*prompts: object, **keys: object) -> Callable[[Path], Path]:
    """Return a function that writes a file in auto-circuit's format."""
    return lambda folder: write(folder, json.dumps({"prompts": prompts} | keys), "pairs.json")


def parquet(**columns: object) -> Callable[[Path], Path]:
    """Return a function that writes a Parquet file; a column that is `...` is omitted."""
    good = {"clean": ["a", "b"], "corrupted": ["c", "d"], "correct": [" x", " y"], "incorrect": [5, 6]}
    kept = {name: value for name, value in (good | columns).items() if value is not ...}

    def make(folder: Path) -> Path:
        pq.write_table(pa.table(kept), folder / "pairs.parquet")
        return folder / "pairs.parquet"

    return make


@pytest.mark.parametrize(
    ("make", "unit", "wanted"),
    [
        (csv("clean,corrupted,correct,corect,clean\n"), "line", [(1, "incorrect"), (1, "clean"), (1, None)]),
        (csv(HEADER + ",a,b,[1,c,\n,a,b,x,y,{\n"), "line", [(2, "correct"), (3, "spans")]),
        (csv(HEADER + ",a,a,x,,\n,a,b\n"), "line", [(2, "incorrect"), (2, "corrupted"), (3, None)]),
        (csv("clean,corrupted,correct_idx,incorrect_idx\na,b,x,1\na,b,1,1\n,b,1,2\n"), "line",
         [(2, "correct_idx"), (3, "correct_idx"), (4, "clean")]),
        (csv("clean,corrupted,correct_idx\na,b,1999\na,,17\n"), "line",
         [(2, "correct_idx"), (3, "corrupted")]),
        (autocircuit({"clean": "a", "corrupt": 5, "answers": [], "wrong_answers": ["x"]}), "line",
         [(1, "corrupt"), (1, "answers")]),
        (autocircuit({"clean": "", "corrupt": "a", "answers": ["x"]}), "line",
         [(1, "clean"), (1, "wrong_answers")]),
        (autocircuit(word_idx=1), "line", [(1, None)]),
        (autocircuit(5), "line", [(1, None)]),
        (parquet(corrupted=..., extra=["a", "b"]), "row", [(None, "corrupted"), (None, None)]),
        (parquet(clean=["a", None], spans=["[", "{"]), "row", [(0, "spans"), (1, "spans")]),
        (parquet(clean=["a", None], incorrect=[-1, 6]), "row", [(0, "incorrect"), (1, "clean")]),
    ],
)  # fmt: skip
def test_every_format_names_fields_as_the_file_does(
    tmp_path: Path, make: Callable[[Path], Path], unit: str, wanted: list[tuple[int | None, str | None]]
) -> None:
    """And counts what it counts."""
    error = refused(make(tmp_path))
    assert fields(error) == wanted, str(error)
    assert {line.unit for line in error.lines} == {unit}


def test_only_lines_that_are_shown_are_told(tmp_path: Path) -> None:
    """All problems of the first 20; the rest are counted in the message."""
    error = refused(write(tmp_path, jsonl(*(record(clean=5, corrupted=5) for _ in range(50)))))
    assert fields(error) == [(line, name) for line in range(1, 21) for name in ("clean", "corrupted")]
    assert str(error).endswith("\nand 30 more bad lines")


def test_a_file_that_is_no_pair_file_has_no_lines(tmp_path: Path) -> None:
    """Its message says it all."""
    for path in (tmp_path / "none", tmp_path, write(tmp_path, b"")):
        assert refused(path).lines == ()


def test_an_error_can_go_from_process_to_process(tmp_path: Path) -> None:
    """With its lines."""
    error = refused(write(tmp_path, jsonl(record(clean=5))))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.lines) == (str(error), error.lines)
