"""Fetch the files of `assets/vendor/` with npm, as listed in `vendored.json`.

`python vendor.py` fetches and checks; `python vendor.py --note` records what it fetched, after a version
in `vendored.json` was changed.
"""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_NOTES = _HERE / "vendored.json"
_VENDOR = _HERE / "assets" / "vendor"


def pack(name: str, version: str) -> tuple[str, bytes]:
    """Return a package's integrity, as recorded by its registry, and its archive."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--json", f"{name}@{version}"]
        result = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603
        listed = json.loads(result.stdout)
        # npm 11 gives a list, earlier and later ones an object by package.
        about = listed[0] if isinstance(listed, list) else next(iter(listed.values()))
        return about["integrity"], (Path(folder) / about["filename"]).read_bytes()


def fetch(package: dict[str, Any], *, note: bool) -> None:
    """Write a package's files into the folder; `SystemExit` on a checksum mismatch."""
    integrity, archive = pack(package["package"], package["version"])
    _hold(package, "integrity", integrity, note=note)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for file in package["files"]:
            member = files.extractfile(f"package/{file['from']}")
            if member is None:
                raise SystemExit(f"{package['package']} has no {file['from']}")
            content = member.read()
            for old, new in package.get("replaced", {}).items():
                content = content.replace(old.encode(), new.encode())
            _hold(file, "sha256", hashlib.sha256(content).hexdigest(), note=note)
            (_VENDOR / file["to"]).write_bytes(content)


def _hold(where: dict[str, Any], key: str, value: str, *, note: bool) -> None:
    if note:
        where[key] = value
    elif where[key] != value:
        raise SystemExit(f"{where}: {key} is {value}")


if __name__ == "__main__":
    notes = json.loads(_NOTES.read_text())
    noting = "--note" in sys.argv[1:]
    for each in notes["packages"]:
        fetch(each, note=noting)
    if noting:
        _NOTES.write_text(json.dumps(notes, indent=2) + "\n")
