"""A database of each kind, new for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchgrid.storage import Database
from support.storage_backends import BACKENDS, new_url


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database that does not exist yet."""
    return new_url(request.param, tmp_path)


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database, to be copied: migrating takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    Database.open(new_url("sqlite", folder)).close()
    return folder / "test.db"


@pytest.fixture
def sqlite(tmp_path: Path, empty_file: Path) -> Path:
    """The file of an empty SQLite database, for what only SQLite has."""
    return Path(shutil.copy(empty_file, tmp_path / "sqlite.db"))


@pytest.fixture
def database(url: str, tmp_path: Path, empty_file: Path) -> Iterator[Database]:
    """An empty database."""
    shutil.copy(empty_file, tmp_path / "test.db")
    with Database.open(url) as opened:
        yield opened
