"""What a good JSON Lines file gives."""

from pathlib import Path

import pytest

from patchgrid.core.types import Pair, TextSpan, TokenPiece, TokenText
from patchgrid.pairs import PairFile
from support.storage.pair_files import jsonl, record, write


def test_a_line_becomes_a_pair(tmp_path: Path) -> None:
    """All fields given."""
    path = write(tmp_path, jsonl(record(id="first", spans={"subject": [1, 3], "end": [7, 8]})))
    assert list(PairFile.open(path)) == [
        Pair(
            clean="Mary and John; John gave to",
            corrupted="Mary and John; Mary gave to",
            correct=(" Mary",),
            incorrect=(" John",),
            id="first",
            spans={"subject": (1, 3), "end": (7, 8)},
        )
    ]


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        (" a", (" a",)),
        (5, (5,)),
        (0, (0,)),
        ({"token": "43"}, (TokenText("43"),)),
        ({"piece": "Ġthe"}, (TokenPiece("Ġthe"),)),
        ([" a", 5, {"token": "43"}], (" a", 5, TokenText("43"))),
        ("3", ("3",)),
    ],
)
def test_answers_are_text_token_ids_or_tokens_one_or_several(
    tmp_path: Path, value: object, answers: tuple[object, ...]
) -> None:
    """Each way to give answers."""
    (pair,) = PairFile.open(write(tmp_path, jsonl(record(correct=value))))
    assert pair.correct == answers


@pytest.mark.parametrize(("value", "name"), [("x y", "x y"), (7, "7"), (-7, "-7"), (None, None), (..., None)])
def test_ids_are_text_and_may_be_left_out(tmp_path: Path, value: object, name: str | None) -> None:
    """A number becomes its text; null is as good as nothing."""
    (pair,) = PairFile.open(write(tmp_path, jsonl(record(id=value))))
    assert pair.id == name


@pytest.mark.parametrize("value", [None, {}, ...])
def test_spans_may_be_left_out(tmp_path: Path, value: object) -> None:
    """Null, or none of them."""
    (pair,) = PairFile.open(write(tmp_path, jsonl(record(spans=value))))
    assert pair.spans is None


def test_blank_lines_are_passed_over_and_the_last_line_end_may_be_missing(tmp_path: Path) -> None:
    """Between lines, before and after them."""
    content = b"\n \n" + jsonl(record(0)) + b"\r\n\n" + jsonl(record(1)).strip()
    assert [pair.clean for pair in PairFile.open(write(tmp_path, content))] == [
        record(0)["clean"],
        record(1)["clean"],
    ]


def test_text_of_any_script_and_line_separators_in_it_are_kept(tmp_path: Path) -> None:
    """Only a line feed ends a line; escapes and characters beyond 16 bits are read."""
    texts = ["a\u2028b\u0085c", "naïve 東京", "\U0001f600", "tab\tnew\nline"]
    path = write(tmp_path, jsonl(*(record(clean=text) for text in texts)))
    assert [pair.clean for pair in PairFile.open(path)] == texts


def test_span_names_are_given_in_the_order_they_are_met(tmp_path: Path) -> None:
    """Not every pair needs every span."""
    lines = [record(spans={"b": [0, 1]}), record(), record(spans={"a": [1, 2], "b": [2, 4]})]
    assert PairFile.open(write(tmp_path, jsonl(*lines))).check().spans == ("b", "a")


@pytest.mark.parametrize("name", ["pairs.json", "pairs.ndjson", "pairs.txt", "pairs", "pairs.csv"])
def test_json_lines_are_told_by_their_content(tmp_path: Path, name: str) -> None:
    """Whatever the file is called."""
    file = PairFile.open(write(tmp_path, jsonl(record()), name))
    assert (file.format, file.check().count) == ("JSON Lines", 1)


def test_a_pair_file_of_one_prompts_field_by_mistake_is_not_json_lines(tmp_path: Path) -> None:
    """A line with `prompts` in it is auto-circuit's format, all in one line."""
    assert PairFile.open(write(tmp_path, '{"prompts": []}')).format == "auto-circuit JSON"


def test_a_span_may_be_counted_from_the_text(tmp_path: Path) -> None:
    """Beside one that is counted from the prompt's first token."""
    (pair,) = PairFile.open(write(tmp_path, jsonl(record(spans={"a": {"text": [0, 2]}, "b": [1, 3]}))))
    assert pair.spans == {"a": TextSpan(0, 2), "b": (1, 3)}
