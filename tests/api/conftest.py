"""The HTTP application on databases of both kinds, asked in this process."""

from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from patchgrid.api.server.app import make_app
from patchgrid.api.service.settings import AllowedModel, ServerSettings
from patchgrid.storage import Database
from support.api.api_clients import Api, api
from support.api.api_jobs import Filled, fill
from support.storage.empty_databases import backend, empty_file, postgres, ready_url
from support.storage.storage_backends import BACKENDS, sqlite_url

__all__ = ["backend", "empty_file", "postgres", "ready_url"]

#: Models that tests may ask for.
MODELS = (AllowedModel("a/model"), AllowedModel("pinned", "v1"))


@pytest.fixture
def database(ready_url: str) -> Iterator[Database]:
    """An empty database."""
    with Database.open(ready_url, connections=32) as opened:
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
    """Return a function that makes an application on an empty database, with the given settings."""
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
