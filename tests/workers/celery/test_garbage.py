"""Whatever lies on a queue: it is logged in one line and dropped, and the worker lives and works."""

import base64
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.faults.forging import body, changed, header, message
from support.machines.servers import wait_for
from support.workers.celery_workers import CeleryWorker, Place

NESTED = b"[" * 100_000 + b"]" * 100_000
#: What a person may find on a queue, and what the log says of it.
GARBAGE = {
    "text": (b"garbage", "not a Celery message"),
    "bytes": (b"\xff\xfe\x00", "not a Celery message"),
    "nothing": (b"", "not a Celery message"),
    "number": (b"42", "not a Celery message"),
    "null": (b"null", "not a Celery message"),
    "list": (b"[1, 2]", "not a Celery message"),
    "object": (b"{}", "not a Celery message"),
    "nested": (NESTED, "not a Celery message (RecursionError"),
    "nested body": (changed(body=base64.b64encode(NESTED).decode()), "recursion depth exceeded"),
    "plain body": (changed(body=NESTED.decode()), "its only argument must be a model"),
    "broken body": (changed(body=base64.b64encode(b"[[").decode()), "Expecting value"),
    "number as body": (changed(body=body(7)), "its only argument must be a model"),
    "no headers": (changed(headers={}), "not a Celery task"),
    "number as headers": (changed(headers=7), "not a Celery message"),
    "no properties": (changed(properties={}), "not a Celery message"),
    "unknown task": (header(task="os.system"), "unknown task 'os.system'"),
    "Celery's own task": (header(task="celery.backend_cleanup"), "unknown task 'celery.backend_cleanup'"),
    "list as task": (header(task=[5]), "unknown task [5]"),
    "list as id": (header(id=[7]), "no task id: [7]"),
    "time limit": (header(timelimit=7), "option timelimit is not supported"),
    "time to start": (header(eta="2199-01-01T00:00:00"), "option eta is not supported"),
    "expired": (header(expires="2001-01-01T00:00:00"), "option expires is not supported"),
    "list as name": (header(shadow=[7]), "option shadow is not supported"),
    "list as root": (header(root_id=[7]), "option root_id is not supported"),
    "no arguments": (changed(body=body([[], {}, {}])), "its only argument must be a model"),
    "positional": (changed(body=body([["rm -rf /"], {}, {}])), "its only argument must be a model"),
    "number as model": (changed(body=body([[], {"model": 7}, {}])), "its only argument must be a model"),
    "more arguments": (
        changed(body=body([[], {"model": "stand-in", "x": 1}, {}])),
        "its only argument must be a model",
    ),
    "other model": (changed(body=body([[], {"model": "other"}, {}])), "does not serve 'other'"),
    "callback": (
        changed(body=body([[], {"model": "stand-in"}, {"callbacks": [{"task": "os.system"}]}])),
        "callbacks are not supported",
    ),
    "chord": (
        changed(body=body([[], {"model": "stand-in"}, {"chord": {"task": "os.system"}}])),
        "callbacks are not supported",
    ),
    "compressed": (header(compression="zlib"), "dropped a message: Error -3 while decompressing"),
    "pickle": (changed(**{"content-type": "application/x-python-serialize"}), "untrusted content"),
    "number as kind": (changed(**{"content-type": 7}), "untrusted content of type 7"),
}


@pytest.fixture
def worker(place: Place) -> Iterator[CeleryWorker]:
    """Return a worker that works for messages alone."""
    with place.worker() as one:
        yield one


def dropped(log: str) -> list[str]:
    """Return the lines of a log that tell of dropped messages."""
    return [line for line in log.splitlines() if "dropped a message" in line]


def test_each_kind_of_garbage_is_dropped_in_a_line_and_the_next_message_works(
    place: Place, worker: CeleryWorker
) -> None:
    """Once: no message returns to the queue, the worker stays connected, and no traceback is logged."""
    for number, (name, (payload, said)) in enumerate(GARBAGE.items(), 1):
        place.push(payload)
        place.work_off()
        wait_for(lambda: len(dropped(worker.log())) >= number)  # noqa: B023
        assert said in dropped(worker.log())[-1], name
    place.work_off()
    lines = dropped(worker.log())
    assert len(lines) == len(GARBAGE), "some were dropped twice"
    assert max(map(len, lines)) < 600
    assert worker.code is None
    for trouble in ("Traceback", "is unavailable", "available again", "Celery: "):
        assert trouble not in worker.log()
    assert place.waiting() == 0
    with place.redis.client() as client:
        wait_for(lambda: not client.exists("unacked", "unacked_index"))


def test_pickle_is_never_read(place: Place, worker: CeleryWorker, tmp_path: Path) -> None:
    """A message that would run code when it is unpickled does not."""

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'owned'}",)

    evil = base64.b64encode(pickle.dumps(([], {"model": Evil()}, {}))).decode()
    kind = {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
    place.push(changed(body=evil, **kind))
    worker.wait_for_log("Refusing to deserialize untrusted content of type pickle")
    place.work_off()
    assert not (tmp_path / "owned").exists()


def test_options_of_celery_that_change_nothing_are_let_be(place: Place, worker: CeleryWorker) -> None:
    """Other clients (Flower, another version) may set them."""
    job = place.submit(send=False)
    place.push(header(lang="rust", origin="flower", retries=2, stamps={}, argsrepr="x" * 1000, new="option"))
    wait_for(lambda: place.is_done(job))
    assert dropped(worker.log()) == []


def test_garbage_in_lists_of_others_is_never_read(place: Place, worker: CeleryWorker) -> None:
    """Those of other models and Celery's own are left alone."""
    names = ("celery", "patchgrid.other", "patchgrid")
    with place.redis.client() as client:
        for name in names:
            client.rpush(name, b"garbage", json.dumps(message()))
        place.work_off()
        assert [client.llen(name) for name in names] == [2, 2, 2]
    assert dropped(worker.log()) == []


def test_garbage_to_remote_control_is_survived(place: Place, worker: CeleryWorker) -> None:
    """What is published where Celery's commands arrive."""
    with place.redis.client() as client:
        wait_for(lambda: client.pubsub_numpat() > 0)
        for payload in (
            b"garbage",
            b"42",
            b"{}",
            NESTED,
            changed(),
            changed(body=body(7)),
            changed(headers=7),
        ):
            client.publish("/0.celery.pidbox", payload)
            place.work_off()
    assert worker.code is None
    assert "Traceback" not in worker.log()
