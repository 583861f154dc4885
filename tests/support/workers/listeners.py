"""A Redis of a module's own, and a listener for its wake-ups."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from patchgrid.workers.broker.notify import WakeUps

from support.machines.servers import Redis, redis_server, wait_for

PASSWORD = "swordfish"


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    """Return a Redis with a password."""
    with redis_server(password=PASSWORD) as running:
        yield running


@contextmanager
def connected_wake_ups(url: str, *, remote_control: bool = False) -> Iterator[WakeUps]:
    """Yield a connected listener."""
    wake_ups = WakeUps(url, remote_control=remote_control)
    wake_ups.start()
    try:
        wait_for(lambda: wake_ups.connected, 10)
        wake_ups.wait(0)
        yield wake_ups
    finally:
        wake_ups.stop()


@pytest.fixture(scope="module")
def listening(server: Redis) -> Iterator[WakeUps]:
    """Yield a listener of the server."""
    with connected_wake_ups(server.url) as wake_ups:
        yield wake_ups


@pytest.fixture
def wake_ups(listening: WakeUps) -> WakeUps:
    """Return the listener, without pending wake-ups."""
    wait_for(lambda: listening.connected, 10)
    listening.wait(0)
    return listening


def ours(caplog: pytest.LogCaptureFixture) -> str:
    """Return patchgrid's log records: those that an operator sees."""
    for name in ("celery", "kombu"):
        assert not logging.getLogger(name).propagate
    written = logging.Formatter("%(levelname)s %(message)s")
    return "\n".join(
        written.format(record) for record in caplog.records if record.name.startswith("patchgrid")
    )
