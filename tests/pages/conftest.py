"""A folder to run the pages' commands in."""

from pathlib import Path

import pytest

from support.machines.pages import ROOT


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """An empty folder that sees the checkout's examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path
