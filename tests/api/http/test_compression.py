"""Answers are compressed for clients that take it, and are the same."""

import gzip

import httpx
import pytest
from starlette.testclient import TestClient

from support.api.api_jobs import Filled


def raw(client: TestClient, path: str, encoding: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """Return an answer, and its body as it was sent."""
    with client.stream("GET", path, headers={"Accept-Encoding": encoding, **headers}) as answer:
        return answer, b"".join(answer.iter_raw())


@pytest.mark.parametrize(
    "what", ["components", "export?what=scores", "export?what=scores&format=csv", "pairs"]
)
def test_what_is_compressed_is_what_is_asked_for(filled: Filled, reading: TestClient, what: str) -> None:
    """Streamed or not; caches are told that it depends on what the client takes."""
    path = f"/v1/jobs/{filled.finished.id}/{what}"
    plain, body = raw(reading, path, "identity")
    answer, sent = raw(reading, path, "gzip")
    assert "content-encoding" not in plain.headers
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(sent) == body
    assert len(sent) < len(body) / 2
    assert "accept-encoding" in answer.headers["vary"].lower()
    assert "accept-encoding" in plain.headers["vary"].lower()


def test_an_answers_tag_is_weak_and_good_for_either_encoding(filled: Filled, reading: TestClient) -> None:
    """The bytes differ, the content is the same."""
    path = f"/v1/jobs/{filled.finished.id}/components"
    plain, weak = (raw(reading, path, encoding)[0].headers["etag"] for encoding in ("identity", "gzip"))
    assert plain == weak
    assert weak.startswith('W/"')
    for tag in (weak.removeprefix("W/"), weak):
        answer, sent = raw(reading, path, "gzip", **{"If-None-Match": tag})
        assert (answer.status_code, answer.headers["etag"], sent) == (304, weak, b"")


def test_a_compressed_files_tag_is_weak(reading: TestClient) -> None:
    """The page's own files have strong ones."""
    plain, weak = (raw(reading, "/", encoding)[0].headers["etag"] for encoding in ("identity", "gzip"))
    assert (plain[0], weak) == ('"', f"W/{plain}")


def test_small_answers_parquet_and_events_are_sent_as_they_are(filled: Filled, reading: TestClient) -> None:
    """Compressing them saves nothing, or makes a client wait."""
    job = f"/v1/jobs/{filled.finished.id}"
    for path in ("/v1/access", f"{job}/export?what=scores&format=parquet", f"{job}/events"):
        answer, _ = raw(reading, path, "gzip")
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers, path
