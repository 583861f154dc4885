"""A database of each kind, new for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchgrid.storage import Database
from support.storage.empty_databases import backend, empty_file, postgres, ready_url
from support.storage.storage_backends import PostgresDatabases, sqlite_url

__all__ = ["backend", "empty_file", "postgres", "ready_url"]


@pytest.fixture
def url(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> Iterator[str]:
    """URL of a database that does not exist yet, or is empty."""
    if "database" in request.fixturenames:
        # That fixture makes the database of this URL ready.
        yield request.getfixturevalue("ready_url")
    elif backend == "sqlite":
        yield sqlite_url(tmp_path)
    else:
        databases: PostgresDatabases = request.getfixturevalue("postgres")
        url = databases.new_url()
        yield url
        databases.drop(url)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """An empty database."""
    with Database.open(url) as opened:
        yield opened


@pytest.fixture
def sqlite(tmp_path: Path, empty_file: Path) -> Path:
    """The file of an empty SQLite database, for what only SQLite has."""
    return Path(shutil.copy(empty_file, tmp_path / "sqlite.db"))
