"""Hashes of checkpoints' weight files; no torch here."""

import hashlib
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchgrid.engine.checkpoint.disk_cache import recall, remember

_KIND = "weights"
#: Nanoseconds after which a file counts as completely written.
_SETTLED = 2_000_000_000


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
    """SHA-256 of a file; the hub's cache already names its blobs by it.

    It is remembered for as long as the file stays the same file, of the same size, written at the same time.
    """
    blob = path.resolve()
    if path.is_symlink() and len(blob.name) == 64:
        return blob.name
    key = _state(blob)
    cached = recall(_KIND, key)
    if isinstance(cached, str) and re.fullmatch("[0-9a-f]{64}", cached):
        return cached
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # A file that was written just now could be written again within its clock's tick.
    if _state(blob) == key and time.time_ns() - max(key["modified"], key["changed"]) > _SETTLED:
        remember(_KIND, key, digest)
    return digest


def _state(path: Path) -> dict[str, Any]:
    """Return what changes when a file does."""
    stat = path.stat()
    return {
        "path": str(path),
        "size": stat.st_size,
        "device": stat.st_dev,
        "inode": stat.st_ino,
        "modified": stat.st_mtime_ns,
        "changed": stat.st_ctime_ns,
    }
