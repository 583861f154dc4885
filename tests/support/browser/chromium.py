"""The browser that tests drive."""

import os
import shutil
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """Return Chromium's path: `PATCHGRID_CHROMIUM`, or the one that is installed."""
    named = os.environ.get("PATCHGRID_CHROMIUM")
    found = named or next((path for path in map(shutil.which, _NAMES) if path), None)
    if found is None or not Path(found).is_file():
        raise FileNotFoundError(
            "these tests need Chromium, and there is none: apt-get install chromium, or name it by "
            "PATCHGRID_CHROMIUM; `make test` runs all others"
        )
    return found
