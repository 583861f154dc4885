"""A Redis for senders."""

from collections.abc import Iterator

import pytest

from support.machines.servers import Redis, redis_server
from support.workers.celery_workers import PASSWORD


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    """Return a Redis with a password."""
    with redis_server(password=PASSWORD) as running:
        yield running


@pytest.fixture
def redis(server: Redis) -> Redis:
    """Return it, empty."""
    with server.client() as client:
        client.flushall()
    return server
