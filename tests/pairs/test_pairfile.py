"""Opening, checking and iterating: limits, changes in between, streams, digests, memory."""

import hashlib
import io
import os
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest

from patchgrid.pairs import PairFile, PairFileError
from support.storage.pair_files import jsonl, record, refusal, write

CHANGED = "changed while it was being read; run the command again"


def test_iterating_gives_the_checked_pairs_any_number_of_times(tmp_path: Path) -> None:
    """With a check before, or without."""
    path = write(tmp_path, jsonl(*(record(number) for number in range(3))))
    file = PairFile.open(path)
    first = list(file)
    assert file.check().count == 3
    assert list(file) == first == list(PairFile.open(path))


def test_a_limit_reads_the_first_pairs_only(tmp_path: Path) -> None:
    """What is behind them is not even checked."""
    path = write(tmp_path, jsonl(record(0, id="x"), record(1), record(2, id="x"), b"{"))
    file = PairFile.open(path, limit=2)
    assert file.check() == PairFile.open(write(tmp_path, jsonl(record(0, id="x"), record(1)), "two")).check()
    assert len(list(file)) == 2


def test_a_limit_beyond_the_end_is_the_whole_file(tmp_path: Path) -> None:
    """The same digest as without."""
    path = write(tmp_path, jsonl(record(0), record(1)))
    for limit in (1000, 10**30):
        assert PairFile.open(path, limit=limit).check() == PairFile.open(path).check()


@pytest.mark.parametrize(
    "other",
    [
        [record(1), record(0)],
        [record(0)],
        [record(0, id="a"), record(1)],
        [record(0, correct=" Eve"), record(1)],
        [record(0, correct={"token": " Mary"}), record(1)],
        [record(0, spans={"s": [0, 1]}), record(1)],
        [record(0, correct=3), record(1)],
        [record(0, correct="3"), record(1)],
    ],
)
def test_other_pairs_have_another_digest(tmp_path: Path, other: list[dict[str, object]]) -> None:
    """Order, ids, answers and their kind, spans."""
    one = PairFile.open(write(tmp_path, jsonl(record(0), record(1)), "one.jsonl")).check()
    assert PairFile.open(write(tmp_path, jsonl(*other), "other.jsonl")).check().digest != one.digest


def test_the_digest_stays_what_it_is(tmp_path: Path) -> None:
    """It is part of a job's key: a change would make every job a new one."""
    line = {"id": "é", "clean": "a", "corrupted": "b", "correct": [{"token": "c"}, 3], "incorrect": " d"}
    lines = jsonl(line | {"spans": {"t": [1, 2], "s": [0, 1]}}, line | {"id": None})
    canonical = (
        rb'["\u00e9","a","b",[{"token":"c"},3],[" d"],{"s":[0,1],"t":[1,2]}],'
        rb'[null,"a","b",[{"token":"c"},3],[" d"],null],'
    )
    assert PairFile.open(write(tmp_path, lines)).check().digest == hashlib.sha256(canonical).hexdigest()


def test_the_digest_does_not_depend_on_how_a_record_is_written(tmp_path: Path) -> None:
    """Order of fields, escapes, one answer or a list of one."""
    one = write(tmp_path, '{"clean": "\\u00e9", "corrupted": "b", "correct": "c", "incorrect": 4}', "one")
    two = write(tmp_path, '{"incorrect":[4],"correct":["c"],"corrupted":"b","clean":"é","id":null}', "two")
    assert PairFile.open(one).check().digest == PairFile.open(two).check().digest


def test_a_file_changed_after_the_check_is_refused(tmp_path: Path) -> None:
    """Before the first pair is given."""
    path = write(tmp_path, jsonl(record(0)))
    file = PairFile.open(path)
    file.check()
    write(tmp_path, jsonl(record(0), record(1)))
    with pytest.raises(PairFileError, match=CHANGED):
        next(iter(file))


def test_a_file_changed_without_a_trace_is_refused_by_its_digest(tmp_path: Path) -> None:
    """Same length, and the time of the change put back."""
    path = write(tmp_path, jsonl(record(0, correct=" Eve"), record(1)))
    file = PairFile.open(path)
    file.check()
    found = path.stat()
    with path.open("r+b") as stream:
        stream.write(path.read_bytes().replace(b" Eve", b" Ada"))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    with pytest.raises(PairFileError, match=CHANGED):
        list(file)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """As when it is still being written."""
    path = write(tmp_path, jsonl(record(0), record(1)))
    pairs = iter(PairFile.open(path))
    next(pairs)
    with path.open("ab") as stream:
        stream.write(jsonl(record(2)))
    with pytest.raises(PairFileError, match=CHANGED):
        list(pairs)


def test_a_file_deleted_after_the_check_is_missing(tmp_path: Path) -> None:
    """A clear error, not the system's."""
    path = write(tmp_path, jsonl(record(0)))
    file = PairFile.open(path)
    file.check()
    path.unlink()
    with pytest.raises(PairFileError, match=r"pairs\.jsonl: no such file"):
        list(file)


class _Stdin:
    """Standard input with these bytes in it."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_a_dash_reads_standard_input_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept in a temporary file, to be read twice."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", _Stdin(jsonl(record(0), record(1))))
    with PairFile.open("-") as file:
        assert file.name == "standard input"
        assert file.check().count == 2
        assert len(list(file)) == 2
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_lines_of_standard_input_are_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary file is not named, and is gone although nobody closed it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", _Stdin(b"{}x\n"))
    assert refusal("-") == ["standard input:1: broken JSON: extra data at column 3"]
    monkeypatch.setattr(sys, "stdin", _Stdin(b""))
    assert refusal("-") == ["standard input: is empty"]
    monkeypatch.setattr(sys, "stdin", _Stdin(jsonl(record())))
    file = PairFile.open("-")
    file.check()
    del file
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_read_like_standard_input(tmp_path: Path) -> None:
    """As the shell's <(...) gives it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(jsonl(record(0), record(1)),))
    writer.start()
    with PairFile.open(pipe) as file:
        assert (file.name, file.check().count, len(list(file))) == (str(pipe), 2, 2)
    writer.join()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A file of 12 MB, of which the start is looked at and then a line at a time."""
    path = write(tmp_path, jsonl(record(clean="word " * 500)) * 4_500)
    assert path.stat().st_size > 11_000_000
    tracemalloc.start()
    assert sum(1 for _ in PairFile.open(path)) == 4_500
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000
