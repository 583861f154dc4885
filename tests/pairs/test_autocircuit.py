"""auto-circuit's JSON files."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from patchgrid.core.types import Pair, TextSpan, TokenText
from patchgrid.pairs import PairFile
from patchgrid.pairs.formats.lines import LIMIT
from support.storage.pair_files import refusal, write


def _entry(**changes: object) -> dict[str, object]:
    good = {
        "clean": "The cows ate",
        "corrupt": "The cats ate",
        "answers": [" grass"],
        "wrong_answers": [" mice"],
    }
    return {name: value for name, value in (good | changes).items() if value is not ...}


def _file(tmp_path: Path, *entries: object, indent: int | None = 2, **others: object) -> Path:
    return write(tmp_path, json.dumps({**others, "prompts": list(entries)}, indent=indent), "pairs.json")


def test_an_entry_becomes_a_pair_whose_answers_are_tokens_by_themselves(tmp_path: Path) -> None:
    """Text answers are vocabulary entries, numbers are token ids."""
    path = _file(tmp_path, _entry(), _entry(answers=[" hay", " grass"], wrong_answers=[7]))
    assert list(PairFile.open(path)) == [
        Pair("The cows ate", "The cats ate", (TokenText(" grass"),), (TokenText(" mice"),)),
        Pair("The cows ate", "The cats ate", (TokenText(" hay"), TokenText(" grass")), (7,)),
    ]


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_the_file_may_be_in_one_line_or_many(tmp_path: Path, indent: int | None) -> None:
    """As json.dump writes it, with or without indents; the name does not matter."""
    path = _file(tmp_path, *[_entry()] * 5, indent=indent)
    for name in ("pairs.json", "pairs.jsonl", "pairs.txt"):
        file = PairFile.open(path.rename(tmp_path / name))
        path = tmp_path / name
        assert (file.format, file.check().count) == ("auto-circuit JSON", 5)


def test_word_positions_and_labels_become_spans_of_the_text(tmp_path: Path) -> None:
    """A token with a name has that alone; labels that come twice, or that are names, say where they are."""
    labels = ["When", "Mary", "and", " to", "to", "IO", " "]
    words = {"IO": 1, "IO-1": 0, "end": 6}
    path = _file(tmp_path, _entry(), _entry(corrupt="a d"), seq_labels=labels, word_idxs=words)
    one, other = PairFile.open(path)
    places = {"IO": 1, "IO-1": 0, "end": 6, "and": 2, " to": 3, "to": 4, "IO@5": 5}
    assert one.spans == other.spans == {name: TextSpan(at, at + 1) for name, at in places.items()}
    note, _ = PairFile.open(path).check().notes
    assert note.startswith("word_idxs and seq_labels became spans, counted from the first token of the text")


def test_word_positions_behind_the_prompts_are_noted(tmp_path: Path) -> None:
    """The pairs are given before they are read."""
    behind = write(tmp_path, json.dumps({"prompts": [_entry()], "word_idxs": {"IO": 2}}), "pairs.json")
    assert PairFile.open(behind).check().notes == (
        "word_idxs comes after the prompts and is ignored: move it before them",
    )


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"word_idxs": [1]}, "'word_idxs' must be an object of names with a token's number each"),
        ({"word_idxs": {"a": -1}}, "'word_idxs' must be an object of names with a token's number each"),
        ({"word_idxs": {"a": True}}, "'word_idxs' must be an object of names with a token's number each"),
        ({"seq_labels": {"a": 1}}, "'seq_labels' must be a list of texts, one a token"),
        ({"seq_labels": ["a", 1]}, "'seq_labels' must be a list of texts, one a token"),
        ({"word_idx": {"a": 1}}, "unknown field 'word_idx' (did you mean 'word_idxs'?)"),
    ],
)
def test_word_positions_of_another_shape_are_refused(
    tmp_path: Path, keys: dict[str, Any], problem: str
) -> None:
    """With what they should be."""
    assert refusal(_file(tmp_path, _entry(), indent=None, **keys)) == [f"pairs.json:1: {problem}"]


def test_bad_entries_are_told_together_with_line_and_place(tmp_path: Path) -> None:
    """The line is the one the entry starts on."""
    path = _file(tmp_path, _entry(), _entry(corrupt=3), "text", _entry(answers=..., answer="a"), indent=1)
    lines = path.read_text().splitlines()
    second = [number for number, line in enumerate(lines, 1) if line.strip() == "{"][2]
    unknown = "unknown field 'answer' (did you mean 'answers'?)"
    third = lines.index('  "text",') + 1
    assert refusal(path) == [
        f"pairs.json:{second}: prompts[1]: 'corrupt' must be text, not a number (3)",
        f"pairs.json:{third}: prompts[2]: must be a JSON object, not text ('text')",
        f"pairs.json:{third + 1}: prompts[3]: {unknown}; missing 'answers'",
    ]


def test_prompts_given_as_token_lists_are_refused(tmp_path: Path) -> None:
    """auto-circuit allows them for models without a tokenizer."""
    assert refusal(_file(tmp_path, _entry(clean=[1, 2]), indent=None)) == [
        "pairs.json:1: prompts[0]: 'clean' must be text, not a list"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"prompts": []}', "pairs.json: has no pairs"),
        ('{"prompts": [', "pairs.json:1: broken JSON: expecting value"),
        ('{"prompts": {}}', "pairs.json:1: broken JSON: expected '[', not '{'"),
        ('{"prompts":\n[]', "pairs.json:2: broken JSON: expected ',' or '}', not the end"),
        ('{"prompts": []}\n\n{}', "pairs.json:3: broken JSON: expected the end, not '{'"),
        ('{"prompts": [],\n"prompts": []}', "pairs.json:2: field 'prompts' appears twice"),
        ('{\n"seq_labels": [],\n3: []', "pairs.json:3: broken JSON: expected a field name, not a number (3)"),
        (
            '{"a": 1,\n"promts": [],\n"prompts": []}',
            "pairs.json:2: unknown field 'promts' (did you mean 'prompts'?)",
        ),
    ],
)
def test_a_broken_file_is_told_with_the_line(tmp_path: Path, content: str, message: str) -> None:
    """What is wrong around the entries."""
    if "prompts" not in content:
        content += ', "prompts": []}'
    assert refusal(write(tmp_path, content, "pairs.json")) == [message]


def test_a_break_between_entries_ends_the_reading_but_not_the_report(tmp_path: Path) -> None:
    """What was bad before it is told as well."""
    missing = "missing 'corrupt'; missing 'answers'; missing 'wrong_answers'"
    content = '{"prompts": [\n{"clean": 1},\n' + json.dumps(_entry()) + "\n{}\n]}"
    assert refusal(write(tmp_path, content, "pairs.json")) == [
        f"pairs.json:2: prompts[0]: 'clean' must be text, not a number (1); {missing}",
        "pairs.json:4: broken JSON: expected ',' or ']', not '{'",
    ]


def test_broken_json_within_an_entry_is_told_with_its_line(tmp_path: Path) -> None:
    """The line of the break, not of the entry."""
    content = '{"prompts": [\n{\n"clean": "a",\n"corrupt" "b"}]}'
    assert refusal(write(tmp_path, content, "pairs.json")) == [
        "pairs.json:4: broken JSON: expecting ':' delimiter"
    ]


def test_bytes_that_are_not_utf8_spoil_one_entry_only(tmp_path: Path) -> None:
    """The entries behind it are read."""
    bad = json.dumps(_entry(clean="caf?")).encode().replace(b"?", b"\xe9")
    content = (
        b'\xef\xbb\xbf{"prompts": [\n' + bad + b",\n" + json.dumps(_entry(clean="The cats ate")).encode()
    )
    assert refusal(write(tmp_path, content + b"]}", "pairs.json")) == [
        "pairs.json:2: prompts[0]: not UTF-8: byte 0xe9",
        "pairs.json:3: prompts[1]: 'corrupt' is the same as 'clean'",
    ]


def test_text_beyond_ascii_is_read_across_the_edges_of_the_window(tmp_path: Path) -> None:
    """Files longer than what is held at once, with characters of several bytes."""
    entries = [_entry(clean=f"é東\U0001f600 {number} " + "ü" * 500) for number in range(3000)]
    path = write(tmp_path, json.dumps({"prompts": entries}, ensure_ascii=False, indent=1), "pairs.json")
    assert path.stat().st_size > 3 * LIMIT
    assert [pair.clean for pair in PairFile.open(path)] == [entry["clean"] for entry in entries]


def test_an_entry_longer_than_the_limit_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    """Text without an end, and a long one."""
    content = '{"prompts": [{"clean": "' + "x" * (20 * LIMIT)
    path = write(tmp_path, content, "pairs.json")
    tracemalloc.start()
    messages = refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert messages == [f"pairs.json:1: an entry is longer than {LIMIT:,} characters"]
    assert peak < 12 * LIMIT
