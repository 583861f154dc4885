"""Following a job live: at once, at every change, to the end, and one look a second for all who follow."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from patchgrid.api import routes
from patchgrid.api.service.following import Followers, Seen
from patchgrid.storage import Database
from patchgrid.storage.access import tokens
from patchgrid.storage.jobs import jobs
from patchgrid.storage.queue import control
from support.api.api_clients import Api, problem
from support.api.api_jobs import Filled
from support.storage.storage_backends import run_chunk, run_job, submit_job


def events(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Read a stream: each event's kind, id and data."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
        if "event" in fields:
            found.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return found


def test_an_ended_job_is_told_once_and_ends(filled: Filled, reading: TestClient) -> None:
    """How it stands, then the end; who knows that already is told the end alone."""
    path = f"/v1/jobs/{filled.finished.id}/events"
    answer = reading.get(path)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    (kind, number, data), (end, last, again) = events(answer.text)
    assert (kind, end, number, data) == ("job", "end", last, again)
    assert (data["state"], data["pairs"]) == ("done", {"total": 14, "done": 12, "failed": 2, "skipped": 0})
    known = reading.get(path, headers={"Last-Event-ID": number})
    assert [event[0] for event in events(known.text)] == ["end"]
    other = reading.get(path, headers={"Last-Event-ID": "other"})
    assert [event[0] for event in events(other.text)] == ["job", "end"]
    problem(reading.get(path, headers={"Last-Event-ID": "x" * 501}), 422, "bad-value")


class Looks(Followers):
    """Counts how often it looks."""

    def __init__(self, database: Database, every: float) -> None:
        super().__init__(database, every)
        self.count = 0

    def _look(self, job_id: int) -> Seen:
        self.count += 1
        return super()._look(job_id)


async def until(check: Callable[[], bool]) -> None:
    """Wait until a check holds."""
    async with asyncio.timeout(30):
        while not check():
            await asyncio.sleep(0.005)


def following(database: Database, work: Callable[[Looks], Any], every: float = 0.02) -> Looks:
    """Run what follows jobs, and give who looked."""
    looks = Looks(database, every)

    async def run() -> None:
        await work(looks)
        await looks.close()

    asyncio.run(run())
    return looks


def test_each_change_is_told_once(database: Database) -> None:
    """At once, then chunk by chunk, pauses too, to the end."""
    job = submit_job(database, 8)
    states: list[tuple[str, int]] = []

    def change(number: int) -> None:
        if number == 1:
            run_chunk(database, job)
        elif number == 2:
            with database.write() as session:
                control.pause(session, job.id)
        elif number == 3:
            with database.write() as session:
                control.unpause(session, job.id)
        elif number == 4:
            run_chunk(database, job)

    async def follow(looks: Looks) -> None:
        async for seen in looks.follow(job.id, None):
            assert seen is not None
            states.append((seen.document["state"], seen.document["pairs"]["done"]))
            await asyncio.to_thread(change, len(states))

    following(database, follow)
    assert states == [("pending", 0), ("running", 4), ("paused", 4), ("running", 4), ("done", 8)]


def test_two_hundred_followers_cost_one_look_at_a_time(database: Database) -> None:
    """All are told each change; when all have left, nobody looks any more."""
    job = submit_job(database, 12)
    told = [0] * 200

    async def one(looks: Looks, number: int) -> None:
        async for seen in looks.follow(job.id, None):
            told[number] += seen is not None

    async def follow(looks: Looks) -> None:
        tasks = [asyncio.create_task(one(looks, number)) for number in range(len(told))]
        for count in (1, 2, 3):
            await until(lambda: min(told) == count)  # noqa: B023
            before = looks.count
            await until(lambda: looks.count >= before + 3)  # noqa: B023
            assert max(told) == count, "nothing is told that is the same"
            await asyncio.to_thread(run_chunk, database, job)
        await asyncio.gather(*tasks)
        assert looks._watched == {}

    looks = following(database, follow)
    assert told == [4] * 200
    assert looks.count < 200


def test_a_follower_that_leaves_frees_its_place(database: Database) -> None:
    """The last one that leaves ends the looking."""
    job = submit_job(database, 4)

    async def one(looks: Looks) -> None:
        async for _ in looks.follow(job.id, None):
            pass

    async def follow(looks: Looks) -> None:
        tasks = [asyncio.create_task(one(looks)) for _ in range(3)]
        await until(lambda: job.id in looks._watched and looks._watched[job.id].followers == 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert looks._watched == {}

    following(database, follow)


def test_nothing_new_is_said_now_and_then(database: Database) -> None:
    """So that proxies and clients know that the connection lives; a deleted job ends it."""
    job = submit_job(database, 4)
    seen: list[str | None] = []

    async def follow(looks: Looks) -> None:
        async for each in looks.follow(job.id, None, alive=0.0):
            seen.append(None if each is None else each.document["state"])
            if each is None and "pending" in seen:
                with database.write() as session:
                    jobs.delete(session, job.id)

    following(database, follow)
    assert [state for state in seen if state is not None] == ["pending", "deleted"]
    assert seen[-2] is None


def test_a_database_that_is_away_for_a_moment_is_waited_for(database: Database) -> None:
    """Whatever a look stumbles over, the next one is made."""
    job = submit_job(database, 4)
    broken = [RuntimeError("a defect"), OSError("the disk")]

    class Stumbling(Looks):
        def _look(self, job_id: int) -> Seen:
            if broken:
                raise broken.pop()
            return super()._look(job_id)

    async def follow() -> list[str]:
        looks = Stumbling(database, 0.01)
        states = []
        async for seen in looks.follow(job.id, None):
            assert seen is not None
            states.append(seen.document["state"])
            await asyncio.to_thread(run_job, database, job)
        await looks.close()
        return states

    assert asyncio.run(follow()) == ["pending", "done"]


def test_a_job_that_is_tried_again_is_followed_anew(database: Database) -> None:
    """Though another still reads how it ended before."""
    job = submit_job(database, 4)
    with database.write() as session:
        control.cancel(session, job.id)

    async def follow(looks: Looks) -> None:
        slow = looks.follow(job.id, None)
        first = await anext(slow)
        assert first is not None
        assert first.document["state"] == "cancelled"
        with database.write() as session:
            jobs.reopen(session, job.id)
        later = looks.follow(job.id, None)
        second = await anext(later)
        assert second is not None
        assert second.document["state"] == "pending"
        await later.aclose()  # type: ignore[attr-defined]
        await slow.aclose()  # type: ignore[attr-defined]

    following(database, follow)


def test_streams_end_when_the_server_does(database: Database) -> None:
    """Within a moment, though the job goes on."""
    job = submit_job(database, 4)

    async def follow(looks: Looks) -> None:
        async for _ in looks.follow(job.id, None):
            looks.stop()

    following(database, follow)


@pytest.mark.parametrize("change", ["revoked", "no longer open"])
def test_a_stream_ends_with_its_token(
    make_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Though the job does not; and where the server is no longer open to all."""
    monkeypatch.setattr(routes.events, "_ALIVE", 0.1)
    served = make_api()
    path = f"/v1/jobs/{submit_job(served.database).id}/events"
    token = None if change == "no longer open" else served.token("read", "lab")
    write, written = routes.events._event, threading.Event()

    def noted(kind: str, seen: Seen) -> str:
        written.set()
        return write(kind, seen)

    monkeypatch.setattr(routes.events, "_event", noted)

    def end() -> None:
        assert written.wait(60)
        if token is None:
            served.token("read")
        else:
            with served.database.write() as session:
                tokens.revoke(session, "lab")

    thread = threading.Thread(target=end)
    thread.start()
    answer = served.client.get(path, headers=token)
    thread.join()
    assert [kind for kind, _, _ in events(answer.text)] == ["job"]
    problem(served.client.get(path, headers=token), 401, "token-required")


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_streams_than_there_are_places(make_api: Callable[..., Api], count: int) -> None:
    """And a place is free again after each."""
    made = make_api(streams=count)
    job = run_job(made.database, submit_job(made.database, 4))
    for _ in range(count + 3):
        assert made.client.get(f"/v1/jobs/{job.id}/events").status_code == 200
    for _ in range(count):
        made.service.streams.take(None)
    answer = made.client.get(f"/v1/jobs/{job.id}/events")
    problem(answer, 503, "busy")
    assert answer.headers["retry-after"]
