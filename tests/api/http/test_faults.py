"""Servers killed, stopped, cut off from their database and their disk, and clients that vanish."""

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from patchgrid.storage import Database, checking
from patchgrid.storage.jobs import jobs
from support.api.api_clients import api, lines, problem
from support.api.serving import Server, serving, uploads_left
from support.machines.servers import Postgres, postgres_server, wait_for
from support.storage.storage_backends import all_jobs, run_job, sqlite_url, submit_job

#: Pairs of the files that are sent.
COUNT = 4000
MODEL = ("-m", "a/model", "--rate", 100_000)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A server of our own, to be stopped."""
    with postgres_server() as server:
        yield server


def whole_jobs(url: str) -> int:
    """Count the jobs, each of which is whole."""
    assert checking.check(url).problems == ()
    with Database.open(url) as database, database.read() as session:
        found = all_jobs(session)
    assert all(job.pairs == COUNT for job in found)
    return len(found)


def kill_while_submitting(server: Server, seed: int, blocks: int, seconds: float) -> None:
    """Kill the server when so many blocks of a file were sent, or so long after the last."""
    data = lines(COUNT)
    size = len(data) // 20 + 1

    def body() -> Iterator[bytes]:
        for number, start in enumerate(range(0, len(data), size)):
            if number == blocks:
                server.kill()
            yield data[start : start + size]
        threading.Timer(seconds, server.process.kill).start()

    with server.client() as client:
        try:
            answer = client.post("/v1/jobs", params={"model": "a/model", "seed": seed}, content=body())
        except httpx.TransportError:
            server.process.wait(60)
        else:
            assert answer.status_code == 201
            server.kill()


def assert_kills_leave_all_or_nothing(url: str, folder: Path, kills: int) -> None:
    """Kill servers at so many moments of submits; send each file again to the next one."""
    rng = random.Random(kills)
    before = 0
    environment = {"TMPDIR": str(folder)}
    for number in range(kills + 1):
        with serving(url, *MODEL, environment=environment) as server:
            if number:
                with server.client() as client:
                    asked = {"model": "a/model", "seed": number - 1}
                    answer = client.post("/v1/jobs", params=asked, content=lines(COUNT))
                    assert answer.status_code in (200, 201), answer.text
                    assert answer.json()["pairs"]["total"] == COUNT
                before += 1
                assert whole_jobs(url) == before
            if number < kills:
                moment = rng.random()
                blocks = int(40 * moment) if moment < 0.5 else 99
                kill_while_submitting(server, number, blocks, moment - 0.5)
                assert whole_jobs(url) in (before, before + 1)
    assert uploads_left(folder) == []


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_a_killed_server_leaves_no_job_or_a_whole_one(url: str, tmp_path: Path) -> None:
    """Twice, while the file comes and while it is stored; sent again, it is one job."""
    assert_kills_leave_all_or_nothing(url, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_a_server_killed_at_many_moments_leaves_no_job_or_a_whole_one(url: str, tmp_path: Path) -> None:
    """Twenty-five times."""
    assert_kills_leave_all_or_nothing(url, tmp_path, 25)


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path, empty_file: Path) -> Iterator[str]:
    """URL of an empty database of a kind, SQLite if none is named."""
    if getattr(request, "param", "sqlite") == "sqlite":
        (tmp_path / "test.db").write_bytes(empty_file.read_bytes())
        yield sqlite_url(tmp_path)
    else:
        server: Postgres = request.getfixturevalue("own_postgres")
        yield server.url(server.new_database())


@contextmanager
def half_sent(server: Server, data: bytes) -> Iterator[tuple[socket.socket, bytes]]:
    """Send half of an upload; give the connection and the rest."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        head = "POST /v1/jobs?model=a/model HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/csv\r\n"
        connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data[: len(data) // 2])
        yield connection, data[len(data) // 2 :]


def test_a_client_that_vanishes_leaves_nothing(url: str, tmp_path: Path) -> None:
    """More often than there are places for uploads; nobody calls it a defect."""
    with serving(url, *MODEL, environment={"TMPDIR": str(tmp_path)}) as server, server.client() as client:
        for _ in range(12):
            with half_sent(server, lines(COUNT)):
                pass
        answer = client.post("/v1/jobs?model=a/model", content=lines(COUNT))
        assert answer.status_code == 201, answer.text
        assert whole_jobs(url) == 1
        assert uploads_left(tmp_path) == []
        assert "Traceback" not in server.log(), server.log()


def test_a_server_that_is_told_to_stop_ends_what_it_has_in_hand(url: str) -> None:
    """An upload comes to its end and is stored; event streams end; the exit code is 0."""
    with Database.open(url) as database:
        job = submit_job(database, 8)
    with serving(url, *MODEL) as server, ExitStack() as stack:
        client = stack.enter_context(server.client())
        streams = [stack.enter_context(client.stream("GET", f"/v1/jobs/{job.id}/events")) for _ in range(3)]
        texts = [stream.iter_text() for stream in streams]
        assert all("event" in next(text) + next(text) for text in texts)
        connection, rest = stack.enter_context(half_sent(server, lines(COUNT)))
        # A connection on which no request has come yet is closed at once.
        wait_for(lambda: server.uploads == 1)
        server.process.terminate()
        for text in texts:
            assert "event: end" not in "".join(text)
        connection.sendall(rest)
        answer = connection.recv(100_000)
        assert b" 201 " in answer.split(b"\r\n")[0]
        assert server.process.wait(30) == 0
        assert "Traceback" not in server.log(), server.log()


@pytest.mark.slow
def test_a_server_waits_for_no_client_for_ever(url: str) -> None:
    """One that sends no more is left at the end of the grace."""
    with serving(url, *MODEL) as server, half_sent(server, lines(COUNT)):
        wait_for(lambda: server.uploads == 1)
        start = time.monotonic()
        assert server.stop(60) == 0
        assert time.monotonic() - start < 40


READ = ("/v1/jobs", "/v1/jobs/1", "/v1/jobs/last", "/v1/jobs/1/components", "/v1/jobs/1/heatmap?site=z")
READ += ("/v1/jobs/1/pairs", "/v1/jobs/1/pairs/0", "/v1/jobs/1/exact", "/v1/jobs/1/verification")
READ += ("/v1/jobs/1/export", "/v1/jobs/1/events", "/v1/workers", "/v1/queue", "/v1/models", "/metrics")


def assert_away(answer: httpx.Response) -> None:
    """Check that an answer says that the database is away, and when to try again."""
    problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0


def change(client: TestClient) -> Iterator[httpx.Response]:
    """Do all that writes."""
    yield client.post("/v1/jobs/1/retry")
    yield client.delete("/v1/jobs/1")
    yield client.post("/v1/jobs?model=a/model", content=lines(3))


def test_while_the_database_is_away_every_answer_says_so(own_postgres: Postgres) -> None:
    """Health, too; when it is back, all is as it was, without anybody's doing."""
    with Database.open(own_postgres.url(own_postgres.new_database()), connections=8) as database:
        run_job(database, submit_job(database, 5))
        with api(database) as make:
            client = make().client
            before = {path: client.get(path).status_code for path in (*READ, "/healthz", "/v1/access")}
            assert set(before.values()) == {200}
            own_postgres.stop()
            try:
                for path in before:
                    assert_away(client.get(path))
                for answer in change(client):
                    assert_away(answer)
                assert client.get("/openapi.json").status_code == 200
            finally:
                own_postgres.start()
            wait_for(lambda: client.get("/healthz").status_code == 200)
            assert {path: client.get(path).status_code for path in before} == before
            assert [answer.status_code for answer in change(client)] == [200, 204, 201]


def test_while_another_holds_the_file_what_writes_is_told_to_come_again(url: str) -> None:
    """What reads is answered; afterwards all goes on."""
    with Database.open(url, timeout=0.2) as database, Database.open(url) as other:
        job = run_job(database, submit_job(database, 5))
        with api(database) as make:
            client = make().client
            with other.write() as session:
                assert all_jobs(session)
                for answer in change(client):
                    assert_away(answer)
                assert {client.get(path).status_code for path in READ} == {200}
            with database.read() as session:
                assert jobs.get(session, job.id) == job
            assert [answer.status_code for answer in change(client)] == [200, 204, 201]


def test_a_full_disk_is_told_and_does_no_harm(url: str) -> None:
    """An upload that there is no room for ends with 503; a smaller one finds it."""
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))"
    with serving(url, *MODEL, prelude=full) as server, server.client() as client:
        large = lines(3) + b"\n" * 9_000_000
        files = {"pairs": ("p", large), "spec": (None, json.dumps({"model": "a/model"}))}
        for answer in (
            client.post("/v1/jobs?model=a/model", content=large),
            client.post("/v1/jobs", files=files),
        ):
            problem(answer, 503, "disk-full")
            assert int(answer.headers["retry-after"]) > 0
        assert client.post("/v1/jobs?model=a/model", content=lines(3)).status_code == 201
