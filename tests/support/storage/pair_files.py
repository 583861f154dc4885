"""Pair files for tests: good records, files written from them, the messages of bad ones."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from patchgrid.pairs import PairFile, PairFileError

#: Three good records.
GOOD: tuple[dict[str, object], ...] = (
    {"clean": "Mary and John; John gave to", "corrupted": "Mary and John; Mary gave to"},
    {"clean": "When Ann met Tom, Tom said", "corrupted": "When Ann met Tom, Ann said"},
    {"clean": "Eve wrote to Bob, so Bob", "corrupted": "Eve wrote to Bob, so Eve"},
)


def record(index: int = 0, more: Mapping[str, object] | None = None, **changes: object) -> dict[str, object]:
    """Return a good record with some fields changed; a field changed to `...` is omitted."""
    fields = {**GOOD[index % 3], "correct": " Mary", "incorrect": " John", **(more or {}), **changes}
    return {name: value for name, value in fields.items() if value is not ...}


def jsonl(*records: object) -> bytes:
    """Write records as JSON Lines; bytes are taken as a whole line."""
    lines = [entry if isinstance(entry, bytes) else json.dumps(entry).encode() for entry in records]
    return b"".join(line + b"\n" for line in lines)


def write(folder: Path, content: bytes | str, name: str = "pairs.jsonl") -> Path:
    """Write a file into `folder`."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path: Path | str, *, limit: int | None = None) -> list[str]:
    """Return the lines of a refused file's message, without the folder's name."""
    with pytest.raises(PairFileError) as caught, PairFile.open(path, limit=limit) as file:
        file.check()
    assert caught.value.exit_code == 2
    folder = f"{Path(path).parent}/"
    return str(caught.value).replace(folder, "").split("\n")
