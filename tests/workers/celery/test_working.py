"""What a message makes a worker do, and what Celery's events and Redis hold of it."""

import ast
import signal
import socket
import threading
from typing import Any

from patchgrid.core.queue_name import queue_name
from patchgrid.workers.broker import messages
from patchgrid.workers.broker.broker import make_app
from support.machines.servers import Redis, wait_for
from support.workers.celery_workers import QUEUE, Place, wait_for_answer
from support.workers.gates import DONE
from support.workers.running import chunks


class Events:
    """Receives Celery's events as Flower does."""

    def __init__(self, redis: Redis) -> None:
        #: Kind of event to those that came.
        self.came: dict[str, list[dict[str, Any]]] = {}
        self._redis = redis
        self._app = make_app(redis.url)
        self._connection = self._app.connection_for_read()
        self._receiver = self._app.events.Receiver(self._connection, handlers={"*": self._note})
        self._thread = threading.Thread(target=self._receive, daemon=True)

    def __enter__(self) -> "Events":
        self._thread.start()
        with self._redis.client() as client:
            wait_for(client.pubsub_numpat)
        return self

    def __exit__(self, *_: object) -> None:
        self._receiver.should_stop = True
        self._thread.join()
        self._connection.release()
        self._app.close()

    def _receive(self) -> None:
        for _ in self._receiver.consume(limit=None):
            pass

    def _note(self, event: dict[str, Any]) -> None:
        self.came.setdefault(event["type"], []).append(event)


def done_by(events: Events) -> dict[str, int]:
    """What the slices that succeeded so far say that they did, added up."""
    results = [ast.literal_eval(each["result"]) for each in events.came.get("task-succeeded", [])]
    return {name: sum(each[name] for each in results) for name in ("chunks", "pairs", "failed")}


def test_a_message_starts_an_idle_worker(place: Place) -> None:
    """It would not look for an hour by itself; its work is over long before the slice's time is up."""
    with place.worker() as worker:
        job = place.work_off(count=10)
        assert chunks(place.database, job) == [DONE] * 3
        place.work_off()
        wait_for(lambda: worker.chunks == 4)
        assert worker.code is None


def test_messages_that_waited_for_a_worker_are_taken_by_it(place: Place) -> None:
    """One is enough for a job; the others find nothing left and end."""
    job = place.submit(count=40)
    assert place.waiting() == 10
    with place.worker():
        wait_for(lambda: place.is_done(job))
        wait_for(lambda: place.waiting() == 0)


def test_a_slice_that_leaves_work_sends_its_successor(place: Place) -> None:
    """One message is enough for a job of any length, in slices of any length; then none is left."""
    job = place.submit(count=40, send=False)
    with Events(place.redis) as events, place.worker(slice=0.001) as worker:
        messages.send(place.redis.url, "stand-in", 1)
        wait_for(lambda: place.is_done(job))
        wait_for(lambda: len(events.came.get("task-succeeded", [])) > 1)
        wait_for(lambda: place.waiting() == 0)
    assert "no message for the work left" not in worker.log()


def test_each_slice_tells_celery_s_events_what_was_done(place: Place) -> None:
    """Chunks, pairs and failed pairs; those of a job's slices add up to the job."""
    with Events(place.redis) as events, place.worker(slice=0.001) as worker:
        place.work_off(count=20, words={3: "NAN"})
        wait_for(lambda: place.waiting() == 0)
        wait_for(lambda: done_by(events)["chunks"] >= 5)
    assert done_by(events) == {"chunks": 5, "pairs": 20, "failed": 1}
    received = events.came["task-received"]
    assert {each["name"] for each in received} == {"patchgrid.work"}
    assert {each["hostname"] for each in received} == {f"patchgrid-{worker.pid}@{socket.gethostname()}"}
    assert all("stand-in" in each["kwargs"] for each in received)
    assert not events.came.get("task-failed")


def test_a_worker_listens_to_the_queues_of_its_models_and_no_other(place: Place) -> None:
    """Messages of other models stay for their own workers."""
    models = ("stand-in", "org/other", "a b")
    with place.worker(models=models) as worker, make_app(place.redis.url) as app:
        [queues] = wait_for_answer(lambda: (app.control.inspect(timeout=2).active_queues() or {}).values())
        assert sorted(queue["name"] for queue in queues) == sorted(map(queue_name, models))
        messages.send(place.redis.url, "strange", 1)
        for model in models:
            place.work_off(model=model)
        assert messages.count(place.redis.url, ["strange", *models]) == {
            "strange": 1,
            **dict.fromkeys(models, 0),
        }
        assert worker.code is None


def test_long_jobs_of_two_models_take_turns(place: Place) -> None:
    """A slice each: neither waits until the other is done."""
    jobs = [place.submit(count=400, send=False, model=model) for model in ("left", "right")]
    with place.worker(models=("left", "right"), slice=0.2, pair_seconds=0.005):
        for model in ("left", "right"):
            messages.send(place.redis.url, model, 1)
        wait_for(lambda: all(DONE in chunks(place.database, job) for job in jobs))
        assert not any(place.is_done(job) for job in jobs)
        wait_for(lambda: all(place.is_done(job) for job in jobs))


def test_a_worker_without_messages_polls(place: Place) -> None:
    """Lost or never sent: after `--poll` seconds it looks by itself, and sends a message for others."""
    slow = {"slice": 0.05, "pair_seconds": 0.01}
    with place.worker(poll=0.2, **slow) as polling, place.worker(**slow) as other:
        job = place.submit(count=400, send=False)
        wait_for(lambda: place.is_done(job))
        wait_for(lambda: polling.chunks + other.chunks == 100)
        assert min(polling.chunks, other.chunks) > 0


def test_several_workers_share_a_job(place: Place) -> None:
    """Each has its messages; no chunk is measured twice."""
    with place.worker(pair_seconds=0.01) as one, place.worker(pair_seconds=0.01) as other:
        job = place.work_off(count=160)
        assert chunks(place.database, job) == [DONE] * 40
        wait_for(lambda: one.chunks + other.chunks == 40)
        assert min(one.chunks, other.chunks) > 5


def test_workers_that_come_and_go_leave_nothing_in_redis(place: Place) -> None:
    """As many keys, and members of them, after four as after one; nothing stays unacknowledged."""
    sizes = []
    for _ in range(4):
        with place.worker(pair_seconds=0.05, grace=0.0) as worker:
            job = place.submit(count=40)
            wait_for(lambda: place.is_held(job, worker))  # noqa: B023
            worker.send(signal.SIGTERM)
            assert worker.join() == 0
        with place.redis.client() as client:
            client.delete(QUEUE)
            sizes.append(
                sorted((key, _size(client, key)) for key in client.scan_iter() if b"pidbox" not in key)
            )
    assert sizes[0] == sizes[-1]


def _size(client: Any, key: bytes) -> int:
    kind = client.type(key)
    sizes = {b"set": client.scard, b"zset": client.zcard, b"hash": client.hlen, b"list": client.llen}
    return int(sizes[kind](key)) if kind in sizes else 1


def test_a_worker_leaves_the_root_logger_and_streams_alone(place: Place) -> None:
    """Its lines are those of the program that runs it: Celery's own are kept from them."""
    with place.worker() as worker:
        place.work_off()
    for line in worker.log().splitlines():
        assert " patchgrid." in line, line
    assert "finished chunk" in worker.log()
