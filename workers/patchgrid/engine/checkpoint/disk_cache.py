"""A cache of small JSON files, which may be deleted, damaged or forged at any time; no torch here.

`PATCHGRID_CACHE` names their folder, `none` keeps none; else it is `patchgrid` in `XDG_CACHE_HOME` or
`~/.cache`. Many processes may read and write at once: a file is put in place whole or not at all.
"""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchgrid.core.files import written_whole

_log = logging.getLogger(__name__)

#: Largest valid file, in bytes.
_LARGEST = 65_536
#: Most files per kind; the oldest are evicted.
_KEPT = 1_000


def cache_folder() -> Path | None:
    """Return the cache folder; None if the cache is disabled."""
    named = os.environ.get("PATCHGRID_CACHE", "")
    if named == "none":
        return None
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "patchgrid"
    except RuntimeError:  # no home
        return None


def recall(kind: str, key: Mapping[str, Any]) -> Any:
    """Return the value cached under this key, or None; it may be any JSON value."""
    path = _path(kind, key)
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        document = json.loads(content) if len(content) <= _LARGEST else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("key") != json.loads(json.dumps(key)):
        return None
    return document.get("value")


def remember(kind: str, key: Mapping[str, Any], value: Any) -> None:
    """Cache a JSON value; failures are logged and ignored."""
    path = _path(kind, key)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with written_whole(path) as file:
            file.write_text(json.dumps({"key": key, "value": value}), encoding="utf-8")
        _drop_oldest(path.parent)
    except OSError as error:
        _log.debug("cannot write the cache %s: %s", path.parent, error)


def _path(kind: str, key: Mapping[str, Any]) -> Path | None:
    folder = cache_folder()
    text = json.dumps(key, sort_keys=True)
    return None if folder is None else folder / kind / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def _drop_oldest(folder: Path) -> None:
    # A file may be gone, dropped by another process.
    with contextlib.suppress(OSError):
        files = list(folder.iterdir())
        if len(files) > _KEPT:
            for path in sorted(files, key=lambda each: each.stat().st_mtime)[: len(files) - _KEPT]:
                path.unlink(missing_ok=True)
