"""Telling checkpoints apart by the content of their weight files; no torch here."""

import hashlib
from collections.abc import Sequence
from pathlib import Path


def folder_hash(folder: str | Path) -> str:
    """SHA-256 over the names and contents of a folder's safetensors files."""
    return weights_hash(sorted(Path(folder).glob("*.safetensors")))


def weights_hash(files: Sequence[Path]) -> str:
    """SHA-256 over the names and contents of weight files, in the order given."""
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.name}:{_file_hash(path)}\n".encode())
    return total.hexdigest()


def _file_hash(path: Path) -> str:
    """SHA-256 of a file; the hub's cache already names its blobs by it."""
    blob = path.resolve()
    if path.is_symlink() and len(blob.name) == 64:
        return blob.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
