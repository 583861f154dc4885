"""Signing in on the page: a cookie that no script can read."""

from http.cookies import SimpleCookie

import pytest

from patchgrid.api.service.access import COOKIE
from support.api.api_clients import Api, problem


def test_signing_in_keeps_the_token_where_no_script_reads_it(served: Api) -> None:
    """For this site alone; then links, downloads and event streams work; signing out forgets it."""
    text = served.token("read")["Authorization"].removeprefix("Bearer ")
    answer = served.client.post("/session", json={"token": text})
    assert (answer.status_code, answer.content) == (204, b"")
    cookie = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
    assert cookie.value == text
    assert (cookie["httponly"], cookie["samesite"].lower(), cookie["path"]) == (True, "strict", "/")
    assert cookie["secure"] == ""
    assert served.client.get("/v1/access").json()["scopes"] == ["read"]
    gone = served.client.delete("/session")
    assert SimpleCookie(gone.headers["set-cookie"])[COOKIE]["max-age"] == "0"
    assert served.client.get("/v1/jobs").status_code == 401


def test_a_header_goes_before_the_cookie(served: Api) -> None:
    """A wrong one is not made good by it."""
    text = served.token("read")["Authorization"].removeprefix("Bearer ")
    cookie = {"Cookie": f"{COOKIE}={text}"}
    assert served.client.get("/v1/jobs", headers=cookie).status_code == 200
    problem(served.client.get("/v1/jobs", headers={**cookie, "Authorization": "Bearer wrong"}), 401)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"token"',
        b'{"token": null}',
        b'{"token": ""}',
        b'{"token": 1}',
        b'{"token": ["a"]}',
        b"[" * 4000,
        b"\xff\xfe",
        b'{"token": "\\ud800"}',
        b"{" + b'"token":' * 400,
    ],
)
def test_what_is_no_token_signs_nobody_in(served: Api, body: bytes) -> None:
    """422 for what is no document of one, 401 for one that nobody has."""
    answer = served.client.post("/session", content=body)
    problem(answer, answer.status_code)
    assert answer.status_code in (401, 422)
    assert "set-cookie" not in answer.headers
    assert problem(served.client.post("/session", content=b" " * 5000), 413)
    assert problem(served.client.post("/session", json={"token": "pg_1_" + "A" * 43}), 401)
