"""Each thing that can be wrong with a pair's fields is told with the line and the field."""

from pathlib import Path

import pytest

from patchgrid.pairs import PairFile
from support.storage.pair_files import jsonl, record, refusal, write


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
        ([1, 2.0], "has a decimal number (2.0) instead of text or a token id"),
        ([False], "has false instead of text or a token id"),
        ([None], "has null instead of text or a token id"),
        ([["a"]], "has a list instead of text or a token id"),
        (-1, "has a number (-1), which is not a token id"),
        (2**31, "has a number (2147483648), which is not a token id"),
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
    assert PairFile.open(path).check().notes == ("ignored columns: 'zzz', 'correct2', 'idx', 'h1'",)


def test_the_same_fields_wrong_in_every_line_are_told_once(tmp_path: Path) -> None:
    """With the number of lines; what else is wrong is told line by line."""
    wrong = [record(index, corect="a", correct=...) for index in range(40)]
    unknown = "unknown field 'corect' (did you mean 'correct'?)"
    assert refusal(write(tmp_path, jsonl(*wrong, record(clean=5), b"{"))) == [
        f"pairs.jsonl:1: {unknown}; missing 'correct' (39 more lines like it)",
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
        "pairs.jsonl:4: id 'a' is already used on line 1",
        "pairs.jsonl:5: id '7' is already used on line 2",
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


def test_long_values_are_cut_in_messages(tmp_path: Path) -> None:
    """A message stays readable whatever stands in the file."""
    (message,) = refusal(write(tmp_path, jsonl(record(0, {"n" * 5000: 1, "clean": ...}))))
    assert message == f"pairs.jsonl:1: unknown field '{'n' * 60}'...; missing 'clean'"


def test_too_many_span_names_are_refused(tmp_path: Path) -> None:
    """Each is a component of its own, so a name for every pair is a mistake."""
    lines = [record(spans={f"s{number}": [0, 1]}) for number in range(257)]
    assert refusal(write(tmp_path, jsonl(*lines))) == [
        "pairs.jsonl:257: more than 256 different names in 'spans'"
    ]
