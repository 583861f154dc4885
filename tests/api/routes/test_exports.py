"""Exports over HTTP: byte for byte what `patchgrid results export` writes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from patchgrid.api.service.streaming import ReleasingStream
from patchgrid.storage.errors import JobChanged
from support.api.api_clients import problem
from support.api.api_jobs import Filled
from support.cli.commands import patchgrid

FORMATS = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("what", ["scores", "exact", "components", "pairs"])
def test_an_export_is_what_the_command_writes(
    filled: Filled, reading: TestClient, tmp_path: Path, what: str, form: str
) -> None:
    """Of every kind of job that has it, by each method."""
    asked = [(job, method) for job in filled.ended for method in job.spec.query.method_names]
    for job, method in asked:
        answer = reading.get(
            f"/v1/jobs/{job.id}/export", params={"what": what, "format": form, "method": method}
        )
        file = tmp_path / f"{job.id}-{method}"
        command = ("results", "export", job.id, "--what", what, "--format", form, "--method", method)
        written = patchgrid(*command, "-o", file, "--db", filled.database.url)
        if written.exit_code:
            problem(answer, 404, "not-stored")
            continue
        assert answer.status_code == 200, answer.text
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"] == FORMATS[form]
        name = f'attachment; filename="job-{job.id}-{what}.{form}"'
        assert answer.headers["content-disposition"] == name


def test_what_cannot_be_exported_is_refused(filled: Filled, reading: TestClient) -> None:
    """Before the first byte."""
    path = f"/v1/jobs/{filled.finished.id}/export"
    problem(reading.get(path, params={"what": "everything"}), 422, "bad-value")
    problem(reading.get(path, params={"format": "xlsx"}), 422, "bad-value")
    problem(reading.get(path, params={"method": "relp"}), 422, "bad-value")
    problem(reading.get(f"/v1/jobs/{filled.summary.id}/export", params={"what": "scores"}), 404)


def test_many_exports_leave_their_places_and_connections(filled: Filled, reading: TestClient) -> None:
    """More than there are places, connections and threads, one after another."""
    path = f"/v1/jobs/{filled.finished.id}/export"
    first = reading.get(path).content
    assert all(reading.get(path).content == first for _ in range(40))
    pool = filled.database.engine.pool
    assert pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_client_that_reads_no_more_is_left() -> None:
    """What its stream held is let go of, and the answer has no end."""
    sent, released = [], []

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: object) -> None:
        if len(sent) == 2:
            await asyncio.Event().wait()
        sent.append(message)

    stream = ReleasingStream((b"x" for _ in range(10)), lambda: released.append(True), patience=0.05)
    scope = {"type": "http", "path": "/", "asgi": {"spec_version": "2.3"}}
    asyncio.run(stream(scope, receive, send))  # type: ignore[arg-type]
    assert len(sent) == 2
    assert released == [True]


def test_a_client_that_reads_too_slowly_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """Once it has been waited for long enough; the log says how slow it was, and what decides."""
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: object) -> None:
        await asyncio.sleep(0.02)
        sent.append(message)

    for least, whole in ((1e9, False), (1.0, True)):
        sent.clear()
        stream = ReleasingStream((b"x" * 100 for _ in range(20)), lambda: None, least=least, waited=0.1)
        scope = {"type": "http", "path": "/export", "asgi": {"spec_version": "2.3"}}
        asyncio.run(stream(scope, receive, send))  # type: ignore[arg-type]
        assert (sent[-1].get("more_body") is False) is whole  # type: ignore[attr-defined]
    (line,) = [record.message for record in caplog.records]
    assert "bytes per second, below the minimum 1,000,000,000 (--min-export-rate)" in line


def test_an_export_that_cannot_go_on_has_no_end(caplog: pytest.LogCaptureFixture) -> None:
    """A client takes it for cut off, not for whole."""
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    def parts() -> Iterator[bytes]:
        yield b"first"
        raise JobChanged("job 3 was deleted")

    scope = {"type": "http", "path": "/export", "asgi": {"spec_version": "2.3"}}
    asyncio.run(ReleasingStream(parts(), lambda: None)(scope, receive, send))  # type: ignore[arg-type]
    assert [message.get("more_body") for message in sent] == [None, True]
    assert "job 3 was deleted" in caplog.text


def test_a_slow_client_is_not_left() -> None:
    """Who takes something now and then is sent all of it, in pieces, however large its parts are made."""
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, object]) -> None:
        await asyncio.sleep(0.01)
        sent.append(message)

    parts = [b"a" * 1_000_000, b"", b"b" * 65_536, b"c" * 65_537]
    stream = ReleasingStream(iter(parts), lambda: None, patience=0.5)
    scope = {"type": "http", "path": "/", "asgi": {"spec_version": "2.3"}}
    asyncio.run(stream(scope, receive, send))  # type: ignore[arg-type]
    bodies = [message for message in sent if message["type"] == "http.response.body"]
    assert b"".join(message["body"] for message in bodies) == b"".join(parts)  # type: ignore[misc]
    assert max(len(message["body"]) for message in bodies) == 65_536  # type: ignore[arg-type]
    assert [message["more_body"] for message in bodies] == [True] * (len(bodies) - 1) + [False]
