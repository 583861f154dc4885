"""A Redis of a module's own, and a bell that listens to it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from patchgrid.workers.broker.bell import Bell
from support.machines.servers import Redis, redis_server, wait_for

PASSWORD = "swordfish"


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    """Give a Redis with a password."""
    with redis_server(password=PASSWORD) as running:
        yield running


@contextmanager
def hung_up(url: str, *, remote_control: bool = False) -> Iterator[Bell]:
    """Give a bell that listens."""
    bell = Bell(url, remote_control=remote_control)
    bell.start()
    try:
        wait_for(lambda: bell.connected, 10)
        bell.wait(0)
        yield bell
    finally:
        bell.stop()


@pytest.fixture(scope="module")
def listening(server: Redis) -> Iterator[Bell]:
    """Give a bell that listens to the server."""
    with hung_up(server.url) as bell:
        yield bell


@pytest.fixture
def bell(listening: Bell) -> Bell:
    """Give the bell, which has not rung."""
    wait_for(lambda: listening.connected, 10)
    listening.wait(0)
    return listening


def ours(caplog: pytest.LogCaptureFixture) -> str:
    """Give what patchgrid logged: what an operator sees, as the libraries' own records go no further."""
    for name in ("celery", "kombu"):
        assert not logging.getLogger(name).propagate
    written = logging.Formatter("%(levelname)s %(message)s")
    return "\n".join(
        written.format(record) for record in caplog.records if record.name.startswith("patchgrid")
    )
