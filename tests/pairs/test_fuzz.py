"""Whatever is done to the bytes of a good file, it gives good pairs or a `PairFileError`."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchgrid.core.types import Pair, place_spans
from patchgrid.pairs import PairFile, PairFileError
from support.engine.layouts import PUBLISHED
from support.storage.pair_files import jsonl, record

_ENTRY = {"clean": "a b", "corrupt": "a c", "answers": ["x"], "wrong_answers": ["y", 3]}
SEEDS = {
    "jsonl": jsonl(record(0, id="p", spans={"s": [0, 2]}), record(1, correct=[" a", 3, {"token": "b"}])),
    "csv": b'id,clean,corrupted,correct,incorrect,spans\np,"a ""q""\nb",c,[1],d,"{""s"":[0,1]}"\n,a,b,c,d,\n',
    "eap": b',clean,corrupted,corrupted_hard,correct_idx,incorrect_idx\n8,"a,b",c,d,1,"[2,3]"\n9,a,b,c,4,5\n',
    "greater": b"clean,corrupted,correct_idx\nfrom 1352 to 13,from 1301 to 13,52\na,b,98\n",
    "auto": json.dumps({"seq_labels": ["a"], "prompts": [_ENTRY, _ENTRY]}, indent=1).encode(),
}


def _table(records: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["", *records[0]])
    writer.writerows([number, *row.values()] for number, row in enumerate(records))
    return text.getvalue().encode()


for _name in ("EAP-IG hypernymy", "EAP-IG sva", "feature-circuits", "MIB ioi", "MIB mcqa"):
    SEEDS[f"{_name}, lines"] = jsonl(*PUBLISHED[_name].records)
    SEEDS[f"{_name}, table"] = _table(PUBLISHED[_name].records)
SEEDS["list"] = json.dumps([record(0), record(1)], indent=1).encode()
SEEDS["words"] = json.dumps({"word_idxs": {"a": 1}, "seq_labels": ["b"], "prompts": [_ENTRY] * 2}).encode()
_PIECES = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\\ud800",
]
_PIECES += [
    b"null",
    b"true",
    b"1e999",
    b"-1",
    b"3.0",
    b"9" * 400,
    b"NaN",
    b"[" * 300,
    b"{'a': " * 120,
    b"['a' 'b']",
    b"None",
    b"\xef\xbb\xbf",
    b'"id"',
    b"\xe2\x80\xa8",
]


@st.composite
def _mutations(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from(sorted(SEEDS.values())))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 12)))
        piece = draw(st.sampled_from(_PIECES) | st.binary(max_size=4) | st.just(data[start:stop] * 2))
        data = data[:start] + piece + data[stop:]
    return data


@pytest.mark.parametrize("kind", SEEDS)
def test_the_files_that_are_changed_are_good(tmp_path: Path, kind: str) -> None:
    """Otherwise the test below would show nothing."""
    path = tmp_path / "pairs"
    path.write_bytes(SEEDS[kind])
    assert PairFile.open(path).check().count == 2


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=_mutations(), name=st.sampled_from(["p.jsonl", "p.csv", "p.json", "p.txt", "p.parquet"]))
def test_a_changed_file_gives_good_pairs_or_a_clear_refusal(tmp_path: Path, data: bytes, name: str) -> None:
    """Never another exception, and never a pair that breaks a promise."""
    path = tmp_path / name
    path.write_bytes(data)
    try:
        file = PairFile.open(path)
        summary = file.check()
    except PairFileError as refusal:
        _check_message(str(refusal), path)
        return
    pairs = list(file)
    assert len(pairs) == summary.count > 0
    for pair in pairs:
        _check(pair)


def _check_message(message: str, path: Path) -> None:
    *lines, last = message.split("\n")
    assert all(line.startswith(f"{path}:") for line in lines)
    assert last.startswith((f"{path}:", "and "))
    assert all(line.isprintable() for line in message.split("\n"))


def _check(pair: Pair) -> None:
    assert pair.clean
    assert pair.corrupted
    assert pair.clean != pair.corrupted
    assert pair.correct
    assert pair.incorrect
    assert not set(pair.correct) & set(pair.incorrect)
    for text in (pair.clean, pair.corrupted, pair.id or ""):
        assert "\0" not in text
        text.encode()
    for start, stop in place_spans(pair.spans, 0).values():
        assert 0 <= start < stop
