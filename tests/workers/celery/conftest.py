"""A Redis, a nursery of workers, and a database with both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from patchgrid.storage import Database
from support.faults.fleet import Nursery, nursery
from support.machines.servers import Redis, redis_server
from support.workers.celery_workers import PASSWORD, Place


@pytest.fixture(scope="module")
def workers() -> Iterator[Nursery]:
    """Return the program that workers are forked from."""
    with nursery() as program:
        yield program


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    """Return a Redis with a password."""
    with redis_server(password=PASSWORD) as running:
        yield running


@pytest.fixture
def place(database: Database, server: Redis, tmp_path: Path, workers: Nursery) -> Place:
    """Return an empty database and broker, and what starts workers of them."""
    with server.client() as client:
        client.flushall()
    return Place(database, server, tmp_path, workers)
