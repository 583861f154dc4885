"""What comes in as a form or a body, in every odd shape: bounded, read rightly, and gone afterwards."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from patchgrid.api.web.upload import file_name
from patchgrid.storage import Database
from support.api.api_clients import Api, api, lines, problem
from support.storage.storage_backends import all_jobs, sqlite_url

SPEC = b'Content-Disposition: form-data; name="spec"\r\n\r\n{"model": "a/model"}\r\n'
FILE = b'Content-Disposition: form-data; name="pairs"; filename="p.jsonl"\r\n\r\n' + lines(3) + b"\r\n"
BOUNDARY = "multipart/form-data; boundary=x"


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After each test no upload lies in the folder of temporary files."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []


@pytest.fixture
def taking(tmp_path: Path, empty_file: Path) -> Iterator[Api]:
    """An application that takes uploads of up to 100,000 bytes."""
    url = sqlite_url(tmp_path)
    (tmp_path / "test.db").write_bytes(empty_file.read_bytes())
    with Database.open(url) as database, api(database) as make:
        yield make(upload_bytes=100_000, upload_waits=0.2)


def form(*parts: bytes, end: bytes = b"--x--\r\n") -> bytes:
    """Put a form together."""
    return b"".join(b"--x\r\n" + part for part in parts) + end


def send(api: Api, body: Any, kind: str = BOUNDARY, **query: str) -> httpx.Response:
    """Send a body of a type."""
    return api.client.post("/v1/jobs", content=body, headers={"Content-Type": kind}, params=query)


def in_blocks(body: bytes, size: int) -> Iterator[bytes]:
    """Yield a body in blocks: its length is not declared."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


def test_a_forms_parts_may_come_in_any_order_and_in_any_bits(taking: Api) -> None:
    """The file first, the settings first, byte by byte."""
    assert send(taking, form(FILE, SPEC)).status_code == 201
    assert send(taking, form(SPEC, FILE)).status_code == 200
    for size in (1, 2, 7, 64):
        assert send(taking, in_blocks(form(SPEC, FILE), size)).status_code == 200
    spec = SPEC.replace(b"\r\n\r\n", b"\r\nContent-Type: application/json; charset=utf-8\r\n\r\n")
    assert send(taking, form(spec, FILE)).status_code == 200
    assert send(taking, b"preamble\r\n" + form(SPEC, FILE) + b"epilogue").status_code in (200, 422)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (form(SPEC, FILE, FILE), 422),
        (form(SPEC, SPEC, FILE), 422),
        (form(FILE, FILE, SPEC), 422),
        (form(SPEC, FILE, end=b""), 422),
        (form(SPEC, FILE, end=b"--x"), 422),
        (form(SPEC, FILE, end=b"--y--\r\n"), 422),
        (form(SPEC, FILE)[:-40], 422),
        (form(SPEC)[:30], 422),
        (b"", 422),
        (b"--x--\r\n", 422),
        (b"nothing of the kind", 422),
        (b"--x", 422),
        (form(b"\r\n\r\n", FILE), 422),
        (form(b"no header\r\n\r\n", FILE), 422),
        (form(b"Content-Disposition: form-data\r\n\r\nx\r\n", FILE), 422),
        (form(b'Content-Disposition: form-data; name="other"\r\n\r\nx\r\n', SPEC, FILE), 422),
        (form(b'Content-Disposition: form-data; name="\xff\x00"\r\n\r\nx\r\n', SPEC, FILE), 422),
        (form(b'Content-Disposition: form-data; name="spec"\r\n\r\n\xff\xfe\r\n', FILE), 422),
        (form(b"Content-Disposition: form-data; name*=utf-8''spec\r\n\r\n{}\r\n", FILE), 422),
        (form(b"Content-Disposition: form-data; name*=nonsense''%ff%\r\n\r\n{}\r\n", FILE), 422),
        (form(b'Content-Disposition: form-data; name="spec"\r\n\r\n' + b" " * 70_000 + b"\r\n", FILE), 413),
        (form(b"A: " + b"a" * 70_000 + b"\r\n\r\n\r\n", SPEC, FILE), 422),
        (form(*[b"A: b\r\n" * 10_000 + b"\r\n\r\n"] * 2), 422),
        (form(SPEC, *[b'Content-Disposition: form-data; name="p"\r\n\r\n\r\n'] * 1500), 422),
        (form(SPEC, *[b'Content-Disposition: form-data; name="%d"\r\n\r\n\r\n' % n for n in range(30)]), 422),
        (form(SPEC, FILE.replace(lines(3), b"x" * 200_000)), 413),
    ],
)
def test_a_form_that_is_none_is_refused(taking: Api, body: bytes, status: int) -> None:
    """At once or in bits, with a problem, and nothing is stored."""
    for sent in (body, in_blocks(body, max(1, len(body) // 5))):
        problem(send(taking, sent), status)
    with taking.database.read() as session:
        assert all_jobs(session) == []


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=y",
        "multipart/form-data; boundary=" + "x" * 5000,
        "multipart/form-data; boundary*=utf-8''%zz",
        "multipart/form-data; boundary=\x0b",
        "MULTIPART/FORM-DATA; charset=utf-16",
        "application/x-www-form-urlencoded",
    ],
)
def test_a_type_without_its_boundary_is_refused(taking: Api, kind: str) -> None:
    """A form that names none, an empty or another one, and a form without parts."""
    answer = send(taking, form(SPEC, FILE), kind)
    problem(answer, 415 if "urlencoded" in kind else 422)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("p.jsonl", "p.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\me\\pairs.csv", "pairs.csv"),
        ("..", ".."),
        ("", "pairs"),
        ("a\x00b\nc\x1b[31m\u202e.csv", "abc[31m.csv"),
        ("x" * 5000 + ".csv", "x" * 96 + ".csv"),
        ("\U0001f600.jsonl", "\U0001f600.jsonl"),
    ],
)
def test_a_files_name_is_for_messages_alone(taking: Api, sent: str, shown: str) -> None:
    """Its last part, of what can be printed, and it names nothing on the disk."""
    assert file_name(sent) == shown
    part = f'Content-Disposition: form-data; name="pairs"; filename="{sent}"\r\n\r\n[]\r\n'.encode()
    document = problem(send(taking, form(SPEC, part)), 422)
    assert "/etc" not in document["detail"]
    assert "\n" not in document["detail"]


def test_an_upload_that_is_too_large_is_refused_at_its_first_byte_too_many(taking: Api) -> None:
    """Whether its length was told before or not, told rightly or not, as a form or a body."""
    body = b"x" * 100_001
    for sent in (body, in_blocks(body, 1000), b"x" * 1_000_000):
        problem(send(taking, sent, "text/csv", model="a/model"), 413, "too-large")
    answer = taking.client.post(
        "/v1/jobs?model=a/model", content=in_blocks(lines(3), 5), headers={"Content-Length": "9" * 30}
    )
    assert answer.status_code in (201, 413)
    fits = lines(3) + b"\n" * (100_000 - len(lines(3)))
    assert send(taking, in_blocks(fits, 4096), "text/csv", model="a/model").status_code in (200, 201)


def test_no_more_than_so_many_uploads_come_at_a_time(taking: Api) -> None:
    """The next waits, then is told when to come again; a place is free when an upload ends, well or not."""
    for _ in range(taking.service.settings.uploads):
        taking.service.uploads.take(None)
    answer = send(taking, form(SPEC, FILE))
    problem(answer, 503, "busy")
    assert int(answer.headers["retry-after"]) > 0
    taking.service.uploads.give_back(None)
    for _ in range(3):
        problem(send(taking, form(SPEC)), 422)
        assert send(taking, form(SPEC, FILE)).status_code in (200, 201)


def test_a_spec_by_query_is_read_as_one_by_form(taking: Api) -> None:
    """Every setting there is, by its name, once."""
    spec = {"model": "a/model", "sites": "z", "exact": "0.5", "grad_drop": "false", "limit": "2", "seed": "3"}
    first = send(taking, lines(3), "text/csv", **spec)
    assert first.status_code == 201, first.text
    typed = {**spec, "exact": 0.5, "grad_drop": False, "limit": 2, "seed": 3}
    second = taking.submit(lines(3), **typed)
    assert (second.status_code, second.json()["job"]) == (200, first.json()["job"])
    twice = taking.client.post("/v1/jobs?model=a/model&model=b", content=lines(2))
    assert problem(twice, 422)["errors"] == [{"field": "model", "detail": "appears twice"}]
    assert json.loads(first.content)["pairs"]["total"] == 2


def test_bad_settings_in_the_query_are_refused_before_the_file_is_read(taking: Api) -> None:
    """Nobody sends two gigabytes to be told that a model is not allowed."""
    too_large = b"x" * 300_000  # which nobody finds out
    for body in (too_large[:120_000], in_blocks(too_large, 5000)):
        problem(send(taking, body, "text/csv", model="b/model"), 403, "model-not-allowed")
        problem(send(taking, body, "text/csv", model="a/model", exact="2"), 422, "bad-value")


def test_no_room_for_an_upload_is_told_so(taking: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no folder for temporary files any more: 503, with when to try again."""
    with monkeypatch.context() as context:
        context.setattr(tempfile, "tempdir", "/nowhere/at/all")
        answer = send(taking, form(SPEC, FILE))
        problem(answer, 503, "disk-full")
        assert int(answer.headers["retry-after"]) > 0
    assert send(taking, form(SPEC, FILE)).status_code == 201
