"""The process that reads Parquet files: whatever ends it ends nothing else, and nothing of it stays."""

from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchgrid.pairs import PairFile
from patchgrid.pairs.formats import parquet
from patchgrid.pairs.records.reading import Findings
from support.storage.pair_files import refusal

#: So many rows that they do not fit between the two processes.
ROWS = 20_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of many pairs."""
    found = tmp_path / "pairs.parquet"
    prompts = {name: [f"{name} {row}" for row in range(ROWS)] for name in ("clean", "corrupted")}
    pq.write_table(pa.table(prompts | {"correct": ["x"] * ROWS, "incorrect": ["y"] * ROWS}), found)
    return found


def children() -> list[psutil.Process]:
    """Return the running child processes of this one."""
    return psutil.Process().children()


def test_a_reader_that_is_killed_is_a_damaged_file(path: Path) -> None:
    """As one that damage ends is: the rows before it stand, the file is refused."""
    known = children()
    rows = parquet.read(path, {}, Findings())
    assert next(rows)[0] == 0
    [reader] = [each for each in children() if each not in known]
    reader.kill()
    *most, (place, problems) = rows
    assert place is None
    assert 0 < len(most) < ROWS - 1
    assert problems == [
        f"damaged or truncated Parquet file, at row {len(most) + 1}: its reader process was killed by SIGKILL"
    ]


def test_nothing_stays_of_a_reader_that_is_not_read_to_its_end(path: Path) -> None:
    """A limit, or a reader of it that had enough."""
    known = children()
    assert PairFile.open(path, limit=3).check().count == 3
    rows = parquet.read(path, {}, Findings())
    next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert children() == known


def test_what_needs_too_much_memory_is_refused(tmp_path: Path) -> None:
    """One page of 300 MB: the reader's process has no more memory; with enough, the text is too much."""
    path, count = tmp_path / "pairs.parquet", 300
    columns = {name: [name[:4]] * count for name in ("corrupted", "correct", "incorrect")}
    columns["clean"] = ["a" * 1_000_000] * count
    whole = 1 << 30
    pq.write_table(pa.table(columns), path, use_dictionary=False, compression="zstd", data_page_size=whole)
    [(place, problems)] = parquet.read_apart(path, {}, Findings(), memory=300 << 20)
    assert place is None
    needs = "needs too much memory to be read on at row 0: write smaller row groups and pages"
    assert problems == [needs]
    assert "too much text for a file of its size" in refusal(path)[0]


def test_a_folder_that_one_works_in_has_no_part_in_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor has what lies in it under a package's name."""
    (tmp_path / "patchgrid").mkdir()
    for name in ("patchgrid/__init__.py", "json.py", "pyarrow.py"):
        (tmp_path / name).write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    assert PairFile.open(path).check().count == ROWS


def test_a_reader_that_cannot_start_is_no_damaged_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a defect of the installation, and told as one."""
    monkeypatch.setattr(parquet.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="reading Parquet failed"):
        PairFile.open(path).check()
