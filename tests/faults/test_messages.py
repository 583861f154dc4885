"""Messages delivered three times, forged by the hundred, and garbage in their place."""

import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from patchgrid.core.queue_name import queue_name
from patchgrid.workers.broker import messages
from patchgrid.workers.testing import make_pairs
from support.faults.fault_jobs import SPEC, trial
from support.faults.fleet import MakeFleet
from support.faults.forging import body, changed, forged
from support.machines.servers import Redis, wait_for

QUEUE = queue_name(SPEC.model)
#: What is not even an envelope.
RUBBISH = (
    b"\xff\xfe\x00 not text",
    b"",
    b"null",
    b"[]",
    b"17",
    b'"work"',
    b"{}",
    b'{"body": "!!!"}',
    b'{"body": "e30=", "headers": {}, "properties": {}}',
    b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00}\x94.",
    b"x" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
)


class Repeater:
    """Puts every message that is put on the queue there twice more, as Redis hears of it."""

    def __init__(self, server: Redis) -> None:
        self._client = server.client()
        self._monitor = server.client(timeout=None).monitor()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        #: How often each message was put there by others.
        self.heard: Counter[str] = Counter()
        self._ours: Counter[str] = Counter()

    def __enter__(self) -> "Repeater":
        self._monitor.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._client.ping()  # something to hear
        self._thread.join()
        self._monitor.__exit__(None, None, None)
        self._client.close()

    def _repeat(self) -> None:
        for said in self._monitor.listen():
            if self._ended.is_set():
                return
            command, _, rest = said["command"].partition(" ")
            name, _, data = rest.partition(" ")
            if command.upper() not in ("LPUSH", "RPUSH") or name != QUEUE:
                continue
            if self._ours[data]:
                self._ours[data] -= 1
                continue
            self.heard[data] += 1
            self._ours[data] += 2
            for _ in range(2):
                self._client.lpush(QUEUE, data)


@contextmanager
def thrown(server: Redis, payloads: Sequence[bytes], seconds: float = 1.0) -> Iterator[list[bytes]]:
    """Put payloads among the messages all along a `with` block, over and over; give those so far."""
    so_far: list[bytes] = []
    ended = threading.Event()

    def throw() -> None:
        with server.client() as client:
            while not ended.is_set():
                for payload in payloads:
                    client.rpush(QUEUE, payload)
                so_far.extend(payloads)
                ended.wait(seconds)

    thread = threading.Thread(target=throw, daemon=True)
    thread.start()
    try:
        yield so_far
    finally:
        ended.set()
        thread.join()


def assert_repeats_change_nothing(
    url: str, server: Redis, folder: Path, make_fleet: MakeFleet, *, chunks: int, workers: int
) -> None:
    """Send a message a worker; they and every successor are delivered three times."""
    options = {"broker": server.url, "pair_seconds": 0.01, "slice": 0.2}
    with (
        Repeater(server) as repeater,
        trial(url, folder, make_pairs(2 * chunks)) as work,
        make_fleet(url, workers, **options) as fleet,
    ):
        messages.send(server.url, SPEC.model, workers)
        work.wait_until_over(fleet)
        assert sum(repeater.heard.values()) > workers, "no successor was heard"
        assert fleet.end() == [0] * workers
        assert fleet.codes == []
        work.assert_exact()


def test_messages_delivered_three_times_change_nothing(
    sqlite_url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Each chunk is measured once."""
    assert_repeats_change_nothing(sqlite_url, redis, tmp_path, make_fleet, chunks=100, workers=2)


@pytest.mark.slow
def test_messages_of_a_long_job_delivered_three_times_change_nothing(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """The same over 2,000 chunks, with eight workers."""
    assert_repeats_change_nothing(url, redis, tmp_path, make_fleet, chunks=2000, workers=8)


def assert_garbage_changes_nothing(
    url: str,
    server: Redis,
    folder: Path,
    make_fleet: MakeFleet,
    payloads: Sequence[bytes],
    *,
    chunks: int,
    workers: int,
) -> None:
    """Work a job off amid garbage: every worker lives, and says what it dropped in a line each."""
    options = {"broker": server.url, "pair_seconds": 0.01, "slice": 0.2}
    with (
        trial(url, folder, make_pairs(2 * chunks)) as work,
        make_fleet(url, workers, **options) as fleet,
        thrown(server, payloads) as so_far,
    ):
        messages.send(server.url, SPEC.model, chunks)
        wait_for(lambda: len(so_far) >= len(payloads))
        work.wait_until_over(fleet)
        wait_for(lambda: "dropped a message" in fleet.log())
        assert fleet.end() == [0] * workers
        assert fleet.codes == []
        work.assert_exact()
        assert_dropped(fleet.log())


def assert_dropped(log: str) -> None:
    """Hold what the workers say of garbage: a line each, no traceback."""
    assert "dropped a message" in log
    assert "Traceback" not in log
    assert max(map(len, log.splitlines())) < 2000


def two_hundred() -> list[bytes]:
    """Return 200 forged messages, and some for models that the worker does not serve, in mixed order."""
    rng = random.Random(15)
    every = list(forged())
    assert len(every) >= 200
    others = [changed(body=body([[], {"model": name}, {}])) for name in ("other", "", "; DROP TABLE job")]
    return [*rng.sample(every, 200), *others]


def test_garbage_changes_nothing(
    sqlite_url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """What is not even an envelope: each ends a connection, none a worker."""
    assert_garbage_changes_nothing(sqlite_url, redis, tmp_path, make_fleet, RUBBISH, chunks=100, workers=2)


def test_two_hundred_forged_messages_change_nothing(
    sqlite_url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Of other tasks, with other arguments, headers, properties and kinds."""
    assert_garbage_changes_nothing(
        sqlite_url, redis, tmp_path, make_fleet, two_hundred(), chunks=100, workers=2
    )


@pytest.mark.slow
def test_a_long_job_amid_garbage_is_exact(
    url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """Both over 2,000 chunks, with eight workers."""
    payloads = [*RUBBISH, *two_hundred()]
    assert_garbage_changes_nothing(url, redis, tmp_path, make_fleet, payloads, chunks=2000, workers=8)


def test_workers_take_messages_again_after_garbage(
    sqlite_url: str, redis: Redis, tmp_path: Path, make_fleet: MakeFleet
) -> None:
    """A worker that polls never starts on a message: every one that can be forged is gone by then."""
    every = [*RUBBISH, *forged()]
    with make_fleet(sqlite_url, 1, broker=redis.url, poll=3600.0) as fleet:
        wait_for(lambda: "receiving messages" in fleet.log())
        with redis.client() as client:
            client.rpush(QUEUE, *every)
            wait_for(lambda: client.llen(QUEUE) == 0, 300)
            with trial(sqlite_url, tmp_path, make_pairs(20)) as work:
                messages.send(redis.url, SPEC.model, 1)
                work.wait_until_over(fleet)
                wait_for(lambda: not client.exists("unacked", "unacked_index"))
                assert fleet.end() == [0]
                assert fleet.codes == []
                work.assert_exact()
        assert_dropped(fleet.log())
