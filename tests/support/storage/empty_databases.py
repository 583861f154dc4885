"""Fixtures: an empty database of each kind, new for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchgrid.storage import Database
from support.storage.storage_backends import BACKENDS, PostgresDatabases, postgres_databases, sqlite_url


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    """A PostgreSQL server, started when the first test needs it."""
    with postgres_databases() as databases:
        yield databases


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database, to be copied: migrating takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    Database.open(sqlite_url(folder)).close()
    return folder / "test.db"


@pytest.fixture
def ready_url(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> Iterator[str]:
    """URL of a database that is ready and holds nothing."""
    if backend == "sqlite":
        shutil.copy(request.getfixturevalue("empty_file"), tmp_path / "test.db")
        yield sqlite_url(tmp_path)
    else:
        databases: PostgresDatabases = request.getfixturevalue("postgres")
        if request.node.get_closest_marker("fresh_database"):
            url = databases.new_migrated_url()
            yield url
            databases.drop(url)
            return
        with databases.lend() as url:
            yield url
