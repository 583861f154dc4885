"""Each kind of bad pair file is refused with the file, the line and what is wrong."""

import json
import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from patchgrid.pairs import PairFile
from patchgrid.pairs.lines import LIMIT
from support.pair_files import jsonl, record, refusal, write


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
        assert refusal(path) == ["pairs.jsonl: no permission to read it"]


@contextmanager
def _not_root() -> Iterator[None]:
    """Give up root's rights for a while: root may read everything."""
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
        (b'{"clean": "a", "clean": "b"}', "field 'clean' is given twice"),
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


@pytest.mark.parametrize("field", ["clean", "corrupted", "correct", "incorrect"])
def test_a_missing_null_or_empty_field_is_named(tmp_path: Path, field: str) -> None:
    """Each required field left out, null, empty text; answers also an empty list and one with empty text."""
    absent = [record(0, {field: value}) for value in (..., None, "")]
    assert refusal(write(tmp_path, jsonl(*absent))) == [
        f"pairs.jsonl:1: missing '{field}'",
        f"pairs.jsonl:2: '{field}' is null",
        f"pairs.jsonl:3: '{field}' is empty",
    ]


@pytest.mark.parametrize("field", ["correct", "incorrect"])
def test_an_empty_list_of_answers_is_refused(tmp_path: Path, field: str) -> None:
    """No answer in the list, or one without text."""
    path = write(tmp_path, jsonl(record(0, {field: []}), record(0, {field: [""]})))
    assert refusal(path) == [
        f"pairs.jsonl:1: '{field}' is empty",
        f"pairs.jsonl:2: '{field}' is empty",
    ]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (3, "a number (3)"),
        (True, "true"),
        (["a"], "a list"),
        ({}, "an object"),
        (1.5, "a decimal number (1.5)"),
    ],
)
def test_a_prompt_that_is_not_text_is_refused(tmp_path: Path, value: object, kind: str) -> None:
    """Prompts of other types."""
    path = write(tmp_path, jsonl(record(clean=value)))
    assert refusal(path) == [f"pairs.jsonl:1: 'clean' must be text, not {kind}"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (3.0, "must be text, a token id or a list of these, not a decimal number (3.0)"),
        (True, "must be text, a token id or a list of these, not true"),
        ([1, 2.0], "has a decimal number (2.0) where text or a token id belongs"),
        ([False], "has false where text or a token id belongs"),
        ([None], "has null where text or a token id belongs"),
        ([["a"]], "has a list where text or a token id belongs"),
        (-1, "has a number (-1), which cannot be a token id"),
        (2**31, "has a number (2147483648), which cannot be a token id"),
        ({"text": "a"}, 'has an object that is not {"token": "text"} or {"piece": "Ġtext"}'),
        ({"token": 3}, 'has an object that is not {"token": "text"} or {"piece": "Ġtext"}'),
        ([" a", " b", " a"], "has ' a' twice"),
        ([7, 7], "has token id 7 twice"),
    ],
)
def test_an_answer_of_the_wrong_type_is_refused(tmp_path: Path, value: object, problem: str) -> None:
    """Answers that are neither text, token id nor a list of these."""
    assert refusal(write(tmp_path, jsonl(record(correct=value)))) == [f"pairs.jsonl:1: 'correct' {problem}"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (1.0, "'id' must be text or a whole number, not a decimal number (1.0)"),
        (True, "'id' must be text or a whole number, not true"),
        ("", "'id' is empty"),
        ("x" * 201, "'id' is longer than 200 characters"),
        (10**300, "'id' is longer than 200 characters"),
        ("a\tb", r"'id' has a control character: 'a\tb'"),
    ],
)
def test_a_bad_id_is_refused(tmp_path: Path, value: object, problem: str) -> None:
    """Ids of the wrong type, too long, or that would upset a terminal."""
    assert refusal(write(tmp_path, jsonl(record(id=value)))) == [f"pairs.jsonl:1: {problem}"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([1, 2], "'spans' must be an object such as {\"subject\": [2, 4]}, not a list"),
        ({"s": [1]}, "span 's' must be two whole numbers [start, stop]"),
        ({"s": "12"}, "span 's' must be two whole numbers [start, stop]"),
        ({"s": [1, 2.0]}, "span 's' must be two whole numbers [start, stop]"),
        ({"s": [False, True]}, "span 's' must be two whole numbers [start, stop]"),
        ({"s": [2, 2]}, "span 's' must have 0 <= start < stop, not a number (2) and a number (2)"),
        ({"s": [-1, 2]}, "span 's' must have 0 <= start < stop, not a number (-1) and a number (2)"),
        ({"(rest)": [0, 1]}, "'spans' cannot have the name '(rest)'"),
        ({"": [0, 1]}, "a name in 'spans' is empty"),
    ],
)
def test_bad_spans_are_refused(tmp_path: Path, value: object, problem: str) -> None:
    """Spans of the wrong shape, order or name."""
    assert refusal(write(tmp_path, jsonl(record(spans=value)))) == [f"pairs.jsonl:1: {problem}"]


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("corect", "correct"),
        ("Correct ", "correct"),
        ("corrupt", "corrupted"),
        ("wrong_answers", "incorrect"),
        ("in_corect", "incorrect"),
    ],
)
def test_a_misspelt_field_is_refused_with_the_right_one(tmp_path: Path, field: str, meant: str) -> None:
    """Other tools' names for ours too."""
    path = write(tmp_path, jsonl(record(0, {field: "x", meant: ...})))
    unknown = f"unknown field {field!r} (did you mean {meant!r}?)"
    assert refusal(path) == [f"pairs.jsonl:1: {unknown}; missing '{meant}'"]


@pytest.mark.parametrize(
    ("field", "meant"), [("span", "spans"), ("Spans", "spans"), ("spnas", "spans"), ("ID", "id")]
)
def test_a_misspelt_field_that_may_be_missing_is_refused_too(tmp_path: Path, field: str, meant: str) -> None:
    """It would be passed over in silence otherwise."""
    path = write(tmp_path, jsonl(record(0, {field: "x"})))
    assert refusal(path) == [f"pairs.jsonl:1: unknown field '{field}' (did you mean '{meant}'?)"]


def test_fields_that_are_not_used_are_noted_once(tmp_path: Path) -> None:
    """Also those near a field that is there, or that no short name can be told from."""
    path = write(tmp_path, jsonl(record(0, zzz=1, correct2=2), record(1, idx=1, zzz=3), record(2, h1=1)))
    assert PairFile.open(path).check().notes == ("columns that are not used: 'zzz', 'correct2', 'idx', 'h1'",)


def test_the_same_fields_wrong_in_every_line_are_told_once(tmp_path: Path) -> None:
    """With the number of lines; what else is wrong is told line by line."""
    wrong = [record(index, corect="a", correct=...) for index in range(40)]
    unknown = "unknown field 'corect' (did you mean 'correct'?)"
    assert refusal(write(tmp_path, jsonl(*wrong, record(clean=5), b"{"))) == [
        f"pairs.jsonl:1: {unknown}; missing 'correct' (39 more lines alike)",
        "pairs.jsonl:41: 'clean' must be text, not a number (5)",
        "pairs.jsonl:42: broken JSON: expecting property name enclosed in double quotes at column 2",
    ]


def test_everything_wrong_with_a_line_is_told_at_once(tmp_path: Path) -> None:
    """Several problems in one record."""
    path = write(tmp_path, jsonl(record(correct=..., corect=" a", clean=3)))
    unknown = "unknown field 'corect' (did you mean 'correct'?)"
    assert refusal(path) == [
        f"pairs.jsonl:1: {unknown}; 'clean' must be text, not a number (3); missing 'correct'"
    ]


def test_duplicate_ids_are_told_with_both_lines(tmp_path: Path) -> None:
    """The same id twice; a number and its text are the same id."""
    path = write(tmp_path, jsonl(record(id="a"), record(id=7), b"", record(id="a"), record(id="7")))
    assert refusal(path) == [
        "pairs.jsonl:4: id 'a' is already on line 1",
        "pairs.jsonl:5: id '7' is already on line 2",
    ]


def test_an_id_may_not_be_the_row_number_of_a_pair_without_one(tmp_path: Path) -> None:
    """A pair without an id goes by its row number, so another may not take that."""
    path = write(tmp_path, jsonl(record(id="x"), record(id=3), record(), record(), record(id="2")))
    assert refusal(path) == [
        "pairs.jsonl:4: no id, and its row number 3 (from 0) is the id on line 2",
        "pairs.jsonl:5: id '2' is the row number (from 0) of a pair without an id",
    ]


def test_ids_that_are_row_numbers_are_fine_where_all_pairs_have_one(tmp_path: Path) -> None:
    """Ids counted from 1, in a file that gives them all."""
    path = write(tmp_path, jsonl(*(record(id=number) for number in range(1, 30))))
    assert PairFile.open(path).check().count == 29


def test_bytes_that_are_not_utf8_are_told_with_the_line(tmp_path: Path) -> None:
    """Latin-1 in the second line; the third is read all the same."""
    bad = b'{"clean": "caf\xe9"}'
    assert refusal(write(tmp_path, jsonl(record(), bad, b"{}x"))) == [
        "pairs.jsonl:2: not UTF-8: byte 0xe9 at byte 15 of the line",
        "pairs.jsonl:3: broken JSON: extra data at column 3",
    ]


def test_half_a_surrogate_pair_is_refused(tmp_path: Path) -> None:
    """JSON can escape what no text can hold."""
    path = write(tmp_path, jsonl(b'{"clean": "a\\ud800", "corrupted": "b", "correct": 1, "incorrect": 2}'))
    problem = r"has half of a surrogate pair ('\ud800'), which is no character"
    assert refusal(path) == [f"pairs.jsonl:1: 'clean' {problem}"]


def test_an_escaped_nul_character_is_refused(tmp_path: Path) -> None:
    """Databases cannot store it."""
    path = write(tmp_path, jsonl(record(clean="a\0b"), record(correct=["\0"])))
    assert refusal(path) == [
        "pairs.jsonl:1: 'clean' has a NUL character",
        "pairs.jsonl:2: 'correct' has a NUL character",
    ]


def test_identical_prompts_are_refused(tmp_path: Path) -> None:
    """Nothing to patch."""
    path = write(tmp_path, jsonl(record(clean="a", corrupted="a")))
    assert refusal(path) == ["pairs.jsonl:1: 'corrupted' is the same as 'clean'"]


@pytest.mark.parametrize(
    ("correct", "incorrect", "shared"),
    [
        (" a", " a", "' a'"),
        ([" b", 5], [5], "token id 5"),
        ({"token": "43"}, [{"token": "44"}, {"token": "43"}], "'43'"),
    ],
)
def test_correct_equal_to_incorrect_is_refused(
    tmp_path: Path, correct: object, incorrect: object, shared: str
) -> None:
    """An answer cannot be told from itself."""
    path = write(tmp_path, jsonl(record(correct=correct, incorrect=incorrect)))
    assert refusal(path) == [f"pairs.jsonl:1: 'correct' equal to 'incorrect': both have {shared}"]


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
        f"pairs.jsonl:2: the line is {size:,} bytes long, the most is 1,048,576",
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


def test_long_values_are_cut_in_messages(tmp_path: Path) -> None:
    """A message stays readable whatever stands in the file."""
    (message,) = refusal(write(tmp_path, jsonl(record(0, {"n" * 5000: 1, "clean": ...}))))
    assert message == f"pairs.jsonl:1: unknown field '{'n' * 60}'...; missing 'clean'"


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
        "pairs.jsonl: is one JSON object over several lines: write one pair a line (JSON Lines)"
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
        "story.txt: neither JSON, JSON Lines, CSV nor Parquet, going by its first line"
    ]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(tmp_path: Path, limit: int) -> None:
    """There would be no pairs."""
    assert refusal(write(tmp_path, jsonl(record())), limit=limit) == [
        f"limit must be at least 1, not {limit}"
    ]


def test_too_many_span_names_are_refused(tmp_path: Path) -> None:
    """Each is a component of its own, so a name for every pair is a mistake."""
    lines = [record(spans={f"s{number}": [0, 1]}) for number in range(257)]
    assert refusal(write(tmp_path, jsonl(*lines))) == [
        "pairs.jsonl:257: more than 256 different names in 'spans'"
    ]
