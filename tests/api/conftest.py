"""The HTTP application on databases of both kinds, asked in this process."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from patchgrid.api.app import make_app
from patchgrid.api.settings import AllowedModel, ServerSettings
from patchgrid.storage import Database
from support.api_clients import Api, api
from support.api_jobs import Filled, fill
from support.storage_backends import BACKENDS, PostgresDatabases, postgres_databases, sqlite_url

#: Models that tests may ask for.
MODELS = (AllowedModel("a/model"), AllowedModel("pinned", "v1"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    """A PostgreSQL server, started when the first test needs it."""
    with postgres_databases() as databases:
        yield databases


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database, to be copied: migrating takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    Database.open(sqlite_url(folder)).close()
    return folder / "test.db"


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)


@pytest.fixture
def url(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> Iterator[str]:
    """URL of a database that is ready and holds nothing."""
    if backend == "sqlite":
        shutil.copy(request.getfixturevalue("empty_file"), tmp_path / "test.db")
        yield sqlite_url(tmp_path)
    else:
        databases: PostgresDatabases = request.getfixturevalue("postgres")
        url = databases.new_migrated_url()
        yield url
        databases.drop(url)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """An empty database."""
    with Database.open(url, connections=32) as opened:
        yield opened


@pytest.fixture(scope="session", params=BACKENDS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A database with a job of each kind, to be read only."""
    if request.param == "sqlite":
        url = sqlite_url(tmp_path_factory.mktemp("filled"))
    else:
        url = request.getfixturevalue("postgres").new_migrated_url()
    with Database.open(url, connections=32) as database:
        yield fill(database, request.param)


@pytest.fixture(scope="session")
def reading(filled: Filled) -> Iterator[TestClient]:
    """A client of an open server with a job of each kind, which nobody changes."""
    settings = ServerSettings(models=MODELS, requests_per_second=1e9, look_every=0.05)
    with TestClient(make_app(filled.database, settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def make_api(database: Database) -> Iterator[Callable[..., Api]]:
    """Give a function that makes an application on an empty database, with the settings that it is given."""
    with api(database) as make:
        yield make


@pytest.fixture
def served(make_api: Callable[..., Api]) -> Api:
    """An application on an empty database, open to this machine, with a few models that may be asked for."""
    return make_api()


@pytest.fixture(scope="session")
def reading_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An application on an empty SQLite database to which nothing is added: all that is sent is refused."""
    with Database.open(sqlite_url(tmp_path_factory.mktemp("refusing"))) as database, api(database) as make:
        yield make()
