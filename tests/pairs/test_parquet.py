"""Parquet files."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchgrid.core.packages import MissingExtraError
from patchgrid.core.types import Pair, TokenText
from patchgrid.pairs import PairFile
from support.storage.pair_files import jsonl, record, refusal, write

PROMPTS = {"clean": ["a", "b"], "corrupted": ["c", "d"]}


def _parquet(tmp_path: Path, columns: Mapping[str, object], name: str = "pairs.parquet") -> Path:
    path = tmp_path / name
    pq.write_table(pa.table(columns), path)
    return path


def test_rows_become_pairs(tmp_path: Path) -> None:
    """Text and number columns; nulls in optional columns; pandas' index is passed over."""
    columns = PROMPTS | {
        "correct": [" x", " y"],
        "incorrect": [5, 6],
        "id": ["one", None],
        "__index_level_0__": [7, 8],
    }
    assert list(PairFile.open(_parquet(tmp_path, columns))) == [
        Pair("a", "c", (" x",), (5,), "one"),
        Pair("b", "d", (" y",), (6,), None),
    ]


def test_answers_may_be_lists_or_tokens_by_themselves(tmp_path: Path) -> None:
    """Lists of different lengths; a struct with a `token` field."""
    columns = PROMPTS | {"correct": [[1, 2], [3]], "incorrect": [{"token": "00"}, {"token": "01"}]}
    assert [(pair.correct, pair.incorrect) for pair in PairFile.open(_parquet(tmp_path, columns))] == [
        ((1, 2), (TokenText("00"),)),
        ((3,), (TokenText("01"),)),
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([{"s": [0, 1], "t": None}, None]),
        pa.array([[("s", [0, 1])], None], pa.map_(pa.string(), pa.list_(pa.int64()))),
        pa.array(['{"s": [0, 1]}', ""]),
    ],
    ids=["struct", "map", "text"],
)
def test_spans_may_be_a_struct_a_map_or_json(tmp_path: Path, column: object) -> None:
    """Whatever the writer made of them."""
    columns = PROMPTS | {"correct": ["x", "x"], "incorrect": ["y", "y"], "spans": column}
    assert [pair.spans for pair in PairFile.open(_parquet(tmp_path, columns))] == [{"s": (0, 1)}, None]


def test_the_same_pairs_have_the_same_digest_as_json_lines(tmp_path: Path) -> None:
    """Over several batches and row groups."""
    records = [record(number, id=number, clean=f"prompt {number}") for number in range(2000)]
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(records), path, row_group_size=700)
    from_jsonl = PairFile.open(write(tmp_path, jsonl(*records))).check()
    assert PairFile.open(path).check() == from_jsonl


def test_bad_rows_are_told_together_by_row_number(tmp_path: Path) -> None:
    """Numbered from 0, as pairs without an id are."""
    columns = {
        "clean": ["a", None, "b", "c"],
        "corrupted": ["a", "x", "d", ""],
        "correct": [1.0, 2.0, 3.0, 4.0],
        "incorrect": ["x", "x", "x", "x"],
        "id": ["1", "2", "1", "2"],
    }
    rule = "'correct' must be text, a token id or a list of these, not a decimal number"
    assert refusal(_parquet(tmp_path, columns)) == [
        f"pairs.parquet: row 0: {rule} (1.0); 'corrupted' is the same as 'clean'",
        f"pairs.parquet: row 1: 'clean' is null; {rule} (2.0)",
        f"pairs.parquet: row 2: {rule} (3.0)",
        f"pairs.parquet: row 3: 'corrupted' is empty; {rule} (4.0)",
    ]


def test_duplicate_ids_are_told_by_row(tmp_path: Path) -> None:
    """Rows, not lines."""
    columns = PROMPTS | {"correct": ["x", "x"], "incorrect": ["y", "y"], "id": [4, 4]}
    assert refusal(_parquet(tmp_path, columns)) == ["pairs.parquet: row 1: id '4' is already used on row 0"]


def test_wrong_columns_are_told_once(tmp_path: Path) -> None:
    """Missing and unknown ones."""
    assert refusal(_parquet(tmp_path, PROMPTS | {"correct": ["x", "x"], "wrong": ["y", "y"]})) == [
        "pairs.parquet: missing column 'incorrect'; unknown column 'wrong'"
    ]


def test_text_that_is_not_utf8_is_told_by_row(tmp_path: Path) -> None:
    """Arrow does not check what it is given."""
    array = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"a\xe9")]
    )
    columns = {"clean": array, "corrupted": ["c", "d"], "correct": ["x", "x"], "incorrect": ["y", "y"]}
    assert refusal(_parquet(tmp_path, columns)) == ["pairs.parquet: row 1: not UTF-8: byte 0xe9"]


def test_an_empty_table_has_no_pairs(tmp_path: Path) -> None:
    """Columns without rows."""
    text = pa.array([], pa.string())
    columns = dict.fromkeys(("clean", "corrupted", "correct", "incorrect"), text)
    assert refusal(_parquet(tmp_path, columns)) == ["pairs.parquet: has no pairs"]


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_file_cut_short_is_refused(tmp_path: Path, kept: float) -> None:
    """The directory at the end is missing."""
    path = _parquet(tmp_path, PROMPTS | {"correct": ["x", "x"], "incorrect": ["y", "y"]})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    (message,) = refusal(path)
    assert message.startswith("pairs.parquet: damaged or truncated Parquet file, at row 0: ")


def test_a_damaged_page_is_refused(tmp_path: Path) -> None:
    """Bytes changed behind a sound directory."""
    columns = {
        "clean": [f"prompt {number}" for number in range(3000)],
        "corrupted": [f"other {number}" for number in range(3000)],
        "correct": ["x"] * 3000,
        "incorrect": ["y"] * 3000,
    }
    path = _parquet(tmp_path, columns)
    data = bytearray(path.read_bytes())
    data[4:400] = b"\xff" * 396
    path.write_bytes(data)
    (message,) = refusal(path)
    assert message.startswith("pairs.parquet: damaged or truncated Parquet file, at row 0: ")


def test_a_damaged_directory_is_refused(tmp_path: Path) -> None:
    """A column's name that is no text any more."""
    path = _parquet(tmp_path, PROMPTS | {"correct": ["x", "x"], "incorrect": ["y", "y"]})
    data = path.read_bytes()
    path.write_bytes(data[:4] + data[4:].replace(b"corrupted", b"corrupt\xff\xfe"))
    (message,) = refusal(path)
    assert message.startswith("pairs.parquet: damaged or truncated Parquet file, at row 0: ")


def test_a_file_that_is_parquet_in_name_only_is_refused(tmp_path: Path) -> None:
    """Text under that name."""
    assert refusal(write(tmp_path, jsonl(record()), "pairs.parquet")) == [
        "pairs.parquet: is not a Parquet file: it does not begin with PAR1"
    ]


def test_without_pyarrow_the_package_to_install_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra; a file under another name is recognised all the same."""
    path = _parquet(tmp_path, PROMPTS | {"correct": ["x", "x"], "incorrect": ["y", "y"]}, "pairs.dat")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError) as caught:
        PairFile.open(path).check()
    assert str(caught.value) == (
        "reading Parquet needs pyarrow, which is not installed: pip install 'patchgrid[parquet]'"
    )
