"""Messages delivered three times, for jobs that do not exist, and garbage in their place."""

import base64
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from patchgrid.workers.broker.notify import notify

from patchgrid.workers.testing import make_pairs
from support.faults.fault_jobs import trial
from support.faults.fleet import MakeFleet
from support.machines.servers import Redis, wait_for

#: What is not even an envelope.
RUBBISH = (
    b"\xff\xfe\x00 not text",
    b"",
    b"null",
    b"[]",
    b"17",
    b'"notify"',
    b"{}",
    b'{"body": "!!!"}',
    b'{"body": "e30=", "headers": {}, "properties": {}}',
    b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00}\x94.",
    b"x" * 100_000,
)


class Repeater:
    """Sends every message that is published twice more."""

    def __init__(self, server: Redis) -> None:
        self._client = server.client()
        self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.psubscribe("*")
        self._ours: Counter[bytes] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        #: Channel and content of every message that others published.
        self.heard: list[tuple[bytes, bytes]] = []

    def __enter__(self) -> "Repeater":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._pubsub.close()
        self._client.close()

    def _repeat(self) -> None:
        while not self._ended.is_set():
            message = self._pubsub.get_message(timeout=0.05)
            if message is None:
                continue
            channel, data = message["channel"], message["data"]
            if self._ours[data]:
                self._ours[data] -= 1
                continue
            self.heard.append((channel, data))
            self._ours[data] += 2
            for _ in range(2):
                self._client.publish(channel, data)


def a_wake_up(server: Redis) -> tuple[bytes, dict[str, Any]]:
    """Notify once, and return the message's channel and content as they pass the broker."""
    with server.client() as client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.psubscribe("*")
        pubsub.get_message(timeout=5)
        notify(server.url, 1)
        found: list[tuple[bytes, dict[str, Any]]] = []

        def heard() -> bool:
            message = pubsub.get_message(timeout=0.1)
            if message is not None:
                found.append((message["channel"], json.loads(message["data"])))
            return bool(found)

        wait_for(heard)
        return found[0]


def forged(message: dict[str, Any]) -> Iterator[bytes]:
    """Yield messages that look like wake-ups: of other tasks, with other arguments, of other kinds."""
    for task in ("no.such.task", "celery.backend_cleanup", "celery.chord", "os.system", "", None, 5):
        yield _changed(message, headers=message["headers"] | {"task": task})
    for arguments in (
        [[], {}],
        [[1], {}],
        [["x"], {"job": 1}],
        [[], {"job": "; DROP TABLE job"}],
        [[], {"job": None}],
    ):
        yield _changed(message, body=_body([*arguments, {}]))
    for arguments in ([[], {"job": 10**30}], [[], {"job": -1}], [[], {"job": 1, "x": 2}], [5, 6], [], {}, 7):
        yield _changed(message, body=_body(arguments))
    yield _changed(message, body="not base64 !")
    yield _changed(message, body=base64.b64encode(b"\xff\xfe").decode())
    yield _changed(message, headers={})
    yield _changed(message, headers=message["headers"] | {"eta": "yesterday"})
    yield _changed(message, headers=message["headers"] | {"expires": "2001-01-01T00:00:00"})
    yield _changed(message, properties={})
    for kind in ("application/x-python-serialize", "application/x-yaml", "nonsense"):
        yield json.dumps(message | {"content-type": kind}).encode()
    yield json.dumps(message | {"content-encoding": "nonsense"}).encode()


def _changed(message: dict[str, Any], **values: Any) -> bytes:
    return json.dumps(message | values).encode()


def _body(arguments: object) -> str:
    return base64.b64encode(json.dumps(arguments).encode()).decode()


def throw_garbage(client: Any, messages: list[bytes], channel: bytes) -> None:
    """Publish messages on every channel, and push them onto every list that may be read."""
    channels = {channel, *client.pubsub_channels()}
    lists = {b"celery", b"patchgrid.notifications"}
    for key in client.keys("*"):
        if client.type(key) == b"list":
            lists.add(key)
        elif client.type(key) == b"set":
            lists |= {member.rpartition(b"\x16")[2] for member in client.smembers(key)}
    for message in messages:
        for name in channels:
            client.publish(name, message)
        for name in lists:
            client.rpush(name, message)


@contextmanager
def garbage(server: Redis) -> Iterator[list[bytes]]:
    """Throw garbage at the workers all along a `with` block; give what was thrown so far."""
    channel, message = a_wake_up(server)
    messages = [*RUBBISH, *forged(message)]
    thrown: list[bytes] = []
    ended = threading.Event()

    def throw() -> None:
        with server.client() as client:
            while not ended.is_set():
                throw_garbage(client, messages, channel)
                thrown.extend(messages)
                ended.wait(1)

    thread = threading.Thread(target=throw, daemon=True)
    thread.start()
    try:
        yield thrown
    finally:
        ended.set()
        thread.join()


def assert_messages_change_nothing(
    url: str, server: Redis, folder: Path, make_fleet: MakeFleet, *, chunks: int, workers: int
) -> None:
    """Notify for this job and for missing ones, each message three times, amid garbage."""
    with (
        Repeater(server) as repeater,
        trial(url, folder, make_pairs(2 * chunks)) as work,
        make_fleet(url, workers, broker=server.url, pair_seconds=0.02) as fleet,
        garbage(server) as thrown,
    ):
        for number in range(10):
            work.wait_until_done(number * chunks // 12, fleet)
            for job_id in (work.job.id, 10**6 + number, 0):
                notify(server.url, job_id)
        work.wait_until_over(fleet)
        assert fleet.end() == [0] * workers
        assert fleet.codes == []
        assert len(thrown) >= len(RUBBISH)
        assert len(repeater.heard) > 30
        work.assert_exact()
        assert_dropped(fleet.log())


def assert_dropped(log: str) -> None:
    """Hold what the workers say of the garbage: a line each, no traceback, and the listener goes on."""
    assert "dropped a message" in log
    assert "dropped a message: no job id" in log
    assert "Traceback" not in log
    assert max(map(len, log.splitlines())) < 2000


def test_messages_repeated_unknown_and_garbage_change_nothing(
    sqlite_url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Each message three times, wake-ups for missing jobs, and whatever else may lie on the queue."""
    assert_messages_change_nothing(sqlite_url, redis, tmp_path, make_fleet, chunks=100, workers=2)


@pytest.mark.slow
def test_a_long_job_amid_garbage_is_exact(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """The same over 1,000 chunks, with eight workers."""
    assert_messages_change_nothing(url, redis, tmp_path, make_fleet, chunks=1000, workers=8)


def test_workers_receive_wake_ups_again_after_garbage(
    sqlite_url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """A worker that would ask the database once in ten minutes starts at once on a wake-up."""
    with make_fleet(sqlite_url, 1, broker=redis.url, poll=600.0) as fleet:
        with redis.client() as client:
            wait_for(client.pubsub_numpat)
        with garbage(redis) as thrown:
            wait_for(lambda: thrown)
        with trial(sqlite_url, tmp_path, make_pairs(20)) as work:
            wait_for(lambda: work.state() == "done" or notify(redis.url, work.job.id), 60, every=0.5)
            assert fleet.end() == [0]
            assert fleet.codes == []
            work.assert_exact()
