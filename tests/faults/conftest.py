"""Servers, databases and workers that things are done to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.faults.fault_worker import WorkerOptions
from support.faults.fleet import Fleet, MakeFleet, Nursery, nursery
from support.machines.servers import Postgres, Redis, postgres_server, redis_server


@pytest.fixture(scope="session")
def workers() -> Iterator[Nursery]:
    """Return the program that workers are forked from."""
    with nursery() as program:
        yield program


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a separate server: tests crash it."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def redis() -> Iterator[Redis]:
    """Return a separate, empty server: tests flush and kill it."""
    with redis_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """Return the URL of an empty PostgreSQL database."""
    return postgres.url(postgres.new_database())


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty database of either kind."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    found: str = request.getfixturevalue(name)
    return found


@pytest.fixture
def make_fleet(workers: Nursery, tmp_path: Path) -> MakeFleet:
    """Return a function that makes a fleet on a database."""

    def make(url: str, size: int, **options: Any) -> Fleet:
        return Fleet(workers, WorkerOptions(url, str(tmp_path / "workers.log"), **options), size)

    return make
