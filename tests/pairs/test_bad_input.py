"""Each kind of bad pair file is refused with the file, the line and what is wrong."""

import json
import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from patchgrid.pairs import PairFile
from patchgrid.pairs.formats.lines import LIMIT
from support.storage.pair_files import jsonl, record, refusal, write


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that does not exist."""
    assert refusal(tmp_path / "none.jsonl") == ["none.jsonl: no such file"]


def test_a_folder_is_not_a_pair_file(tmp_path: Path) -> None:
    """A folder where a file is meant."""
    (tmp_path / "pairs").mkdir()
    assert refusal(tmp_path / "pairs") == ["pairs: is a folder, not a pair file"]


def test_a_file_without_read_permission_is_named(tmp_path: Path) -> None:
    """A file that this user may not read."""
    path = write(tmp_path, jsonl(record()))
    path.chmod(0)
    with _not_root():
        assert refusal(path) == ["pairs.jsonl: permission denied"]


@contextmanager
def _not_root() -> Iterator[None]:
    """Drop root's rights for the block: root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    """No bytes at all."""
    assert refusal(write(tmp_path, b"")) == ["pairs.jsonl: is empty"]


@pytest.mark.parametrize("content", [b"\n\n", b"  \r\n\t\n", b"\xef\xbb\xbf\n", b" " * (LIMIT + 5)])
def test_a_file_of_blank_lines_says_so(tmp_path: Path, content: bytes) -> None:
    """White space only, however much of it."""
    assert refusal(write(tmp_path, content)) == ["pairs.jsonl: has no pairs, only blank lines"]


def test_broken_json_is_told_with_line_and_column(tmp_path: Path) -> None:
    """A line that ends too early, one with a comma missing."""
    path = write(tmp_path, jsonl(record(), b'{"clean": "a"', b"", b'{"clean" "b"}'))
    assert refusal(path) == [
        "pairs.jsonl:2: broken JSON: expecting ',' delimiter at column 14",
        "pairs.jsonl:4: broken JSON: expecting ':' delimiter at column 10",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"clean": NaN}', "NaN is not JSON"),
        (b'{"clean": "a", "clean": "b"}', "field 'clean' appears twice"),
        (b'{"clean": "a"} {}', "broken JSON: extra data at column 16"),
        (b"3", "must be a JSON object, not a number (3)"),
        (b'["a"]', "must be a JSON object, not a list"),
        (b"null", "must be a JSON object, not null"),
        (b'{"clean": "a\0b"}', "has a NUL byte"),
    ],
)
def test_json_that_is_no_record_is_refused(tmp_path: Path, line: bytes, problem: str) -> None:
    """Other ways for a line of JSON to be wrong."""
    assert refusal(write(tmp_path, jsonl(record(), line))) == [f"pairs.jsonl:2: {problem}"]


def test_a_number_too_long_to_read_is_refused(tmp_path: Path) -> None:
    """A token id of 5,000 digits, which Python will not turn into a number."""
    line = b'{"clean": "a", "corrupted": "b", "correct": ' + b"9" * 5000 + b', "incorrect": 2}'
    assert refusal(write(tmp_path, jsonl(line))) == ["pairs.jsonl:1: a number is too long"]


def test_bytes_that_are_not_utf8_are_told_with_the_line(tmp_path: Path) -> None:
    """Latin-1 in the second line; the third is read all the same."""
    bad = b'{"clean": "caf\xe9"}'
    assert refusal(write(tmp_path, jsonl(record(), bad, b"{}x"))) == [
        "pairs.jsonl:2: not UTF-8: byte 0xe9 at byte 15 of the line",
        "pairs.jsonl:3: broken JSON: extra data at column 3",
    ]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    """As Windows editors write it."""
    assert PairFile.open(write(tmp_path, b"\xef\xbb\xbf" + jsonl(record()))).check().count == 1


def test_crlf_line_ends_are_fine(tmp_path: Path) -> None:
    """The same pairs, the same digest."""
    content = jsonl(record(0), record(1))
    unix = PairFile.open(write(tmp_path, content)).check()
    assert PairFile.open(write(tmp_path, content.replace(b"\n", b"\r\n"))).check() == unix


def test_a_line_of_almost_a_megabyte_is_passed_on(tmp_path: Path) -> None:
    """Whether a model can take it is the model's business."""
    long = record(clean="word " * 200_000)
    (pair,) = PairFile.open(write(tmp_path, jsonl(long)))
    assert len(pair.clean) == 1_000_000


def test_a_line_over_the_limit_is_told_with_its_size_and_passed_over(tmp_path: Path) -> None:
    """20 MB in one line: not held in memory, and the line behind it is read."""
    path = write(tmp_path, jsonl(record(), record(clean="x" * 20_000_000), b"{}x"))
    tracemalloc.start()
    messages = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = len(path.read_bytes().splitlines(keepends=True)[1])
    assert messages == [
        f"pairs.jsonl:2: the line is {size:,} bytes long; the limit is 1,048,576",
        "pairs.jsonl:3: broken JSON: extra data at column 3",
    ]
    assert peak < 8_000_000


def test_twenty_bad_lines_are_told_in_full_and_the_rest_counted(tmp_path: Path) -> None:
    """Good lines between bad ones do not count."""
    lines = [record(clean=3) if number % 2 else record() for number in range(61)]
    messages = refusal(write(tmp_path, jsonl(*lines)))
    assert messages[:20] == [
        f"pairs.jsonl:{number}: 'clean' must be text, not a number (3)" for number in range(2, 42, 2)
    ]
    assert messages[20:] == ["and 10 more bad lines"]


def test_one_bad_line_more_is_counted_in_the_singular(tmp_path: Path) -> None:
    """21 bad lines."""
    assert refusal(write(tmp_path, jsonl(*[b"{}x"] * 21)))[20:] == ["and 1 more bad line"]


def test_many_bad_lines_take_no_memory(tmp_path: Path) -> None:
    """Only what is shown is kept."""
    path = write(tmp_path, b"{}x\n" * 20_000)
    tracemalloc.start()
    messages = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert messages[-1] == "and 19,980 more bad lines"
    assert peak < 4_000_000


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.json", "pairs.csv", "pairs.txt"])
def test_a_json_array_is_read_as_its_records(tmp_path: Path, name: str) -> None:
    """Whatever the file is called; pandas writes such files."""
    records = [record(), record(1)]
    file = PairFile.open(write(tmp_path, json.dumps(records, indent=1).encode(), name))
    assert file.format == "JSON"
    assert list(file) == list(PairFile.open(write(tmp_path, jsonl(*records), "lines")))
    bad = write(tmp_path, json.dumps([record(), 5, record(clean=5)], indent=1).encode(), name)
    assert [line.split(": ", 1)[1] for line in refusal(bad)] == [
        "[1]: must be a JSON object, not a number (5)",
        "[2]: 'clean' must be text, not a number (5)",
    ]


def test_one_object_spread_over_lines_is_told_from_json_lines(tmp_path: Path) -> None:
    """A pair printed with indents."""
    assert refusal(write(tmp_path, '{\n  "clean": "a",\n  "corrupted": "b"\n}\n')) == [
        "pairs.jsonl: is one JSON object over several lines: write one pair per line (JSON Lines)"
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x1f\x8b\x08\0\0", "compressed with gzip: unpack it first"),
        (b"PK\x03\x04abc", "a zip archive: unpack it first"),
        ("clean".encode("utf-16"), "UTF-16 text: save it as UTF-8"),
    ],
)
def test_files_of_another_kind_are_recognised(tmp_path: Path, content: bytes, what: str) -> None:
    """The usual mistakes."""
    assert refusal(write(tmp_path, content)) == [f"pairs.jsonl: is {what}"]


def test_a_file_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    """Neither its name nor its first line tells."""
    assert refusal(write(tmp_path, "once upon a time\n", "story.txt")) == [
        "story.txt: unknown format: its first line is not JSON, JSON Lines, CSV or Parquet"
    ]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(tmp_path: Path, limit: int) -> None:
    """There would be no pairs."""
    assert refusal(write(tmp_path, jsonl(record())), limit=limit) == [
        f"limit must be at least 1, not {limit}"
    ]
