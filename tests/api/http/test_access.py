"""Who may ask what: every route, by every kind of token, and nothing of a token anywhere."""

import logging
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from patchgrid.api.service.access import COOKIE
from patchgrid.storage.access import tokens
from support.api.api_clients import Api, lines, problem
from support.storage.storage_backends import run_job, submit_job

_READ = (
    "/v1/jobs",
    "/v1/jobs/{job}",
    "/v1/jobs/{job}/components",
    "/v1/jobs/{job}/heatmap",
    "/v1/jobs/{job}/pairs",
    "/v1/jobs/{job}/pairs/{row}",
    "/v1/jobs/{job}/exact",
    "/v1/jobs/{job}/furthest",
    "/v1/jobs/{job}/verification",
    "/v1/jobs/{job}/export",
    "/v1/jobs/{job}/groups",
    "/v1/jobs/{job}/missed",
    "/v1/jobs/{job}/refinements",
    "/v1/jobs/{job}/events",
    "/v1/models",
    "/v1/workers",
    "/v1/queue",
    "/metrics",
)
_STEER = tuple(f"/v1/jobs/{{job}}/{what}" for what in ("cancel", "pause", "refine", "resume", "retry"))
_ALL = (
    ("GET", "/v1/access"),
    ("POST", "/session"),
    ("DELETE", "/session"),
    ("GET", "/healthz"),
    ("GET", "/openapi.json"),
    ("GET", "/records.js"),
    ("GET", "/"),
)
#: What each operation needs: a scope, or None. One that is not here fails the first test below.
NEEDED: dict[tuple[str, str], str | None] = {
    **dict.fromkeys(_ALL),
    **{("GET", path): "read" for path in _READ},
    **{("POST", path): "submit" for path in ("/v1/jobs", *_STEER)},
    ("DELETE", "/v1/jobs/{job}"): "submit",
}
SCOPES = ("read", "submit", "admin")
_SECRET = "A" * 43
#: What is no token at all, or nobody's.
WRONG = (
    "x",
    "pg_",
    "pg_1_",
    f"pg_0_{_SECRET}",
    f"pg_1_{_SECRET}",
    f"pg_01_{_SECRET}",
    f"pg_9999999999_{_SECRET}",
    f"pg_1_{_SECRET[1:]}'",
    f"pg_1_{_SECRET}\x0b",
    f"pg_+1_{_SECRET}",
    "' OR 1=1 --",
    "A" * 5000,
)


@pytest.fixture
def guarded(make_api: Callable[..., Api]) -> Api:
    """An application with a finished job, which asks for tokens."""
    made = make_api()
    run_job(made.database, submit_job(made.database, 5))
    made.token("admin", "the first")
    return made


def operations(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield each method and path of the application."""
    for route in app.routes:
        included = getattr(route, "original_router", None)
        for one in [route] if included is None else included.routes:
            for method in getattr(one, "methods", None) or ():
                if method != "HEAD":
                    yield method, one.path


def ask(client: TestClient, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Ask for something that is there, and give the answer's status and text."""
    place = path.format(job=1, row=0)
    query = {"site": "z"} if path.endswith(("heatmap", "furthest")) else {}
    answer = client.request(method, place, params=query, headers=headers)
    return answer.status_code, answer.text + str(answer.headers)


def test_every_operation_is_known_with_what_it_needs(guarded: Api) -> None:
    """A new one is to be written down here, with its scope, before it passes."""
    assert set(operations(guarded.client.app)) == NEEDED.keys()  # type: ignore[arg-type]


def test_without_a_good_token_nothing_is_answered_but_what_needs_none(guarded: Api) -> None:
    """No token, one that nobody has, a revoked one, one that has ended."""
    revoked, ended = guarded.token("admin", "revoked"), guarded.token("admin", "ended", days=1e-12)
    with guarded.database.write() as session:
        tokens.revoke(session, "revoked")
    for headers in ({}, revoked, ended, {"Authorization": f"Bearer pg_1_{_SECRET}"}):
        for (method, path), needed in NEEDED.items():
            status, _ = ask(guarded.client, method, path, headers)
            if needed is not None:
                assert status == 401, (method, path, headers)
            elif path != "/v1/access":  # which says that a token is wrong
                assert status != 401 or method == "POST", (method, path, headers)
    answer = guarded.client.get("/v1/jobs")
    assert problem(answer, 401, "token-required")["detail"].startswith("a token is required")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_what_is_no_token_is_refused_like_a_wrong_one(guarded: Api) -> None:
    """However it is written, as a header and as a cookie."""
    for text in WRONG:
        for headers in ({"Authorization": f"Bearer {text}"}, {"Cookie": f"{COOKIE}={text}"}):
            assert guarded.client.get("/v1/jobs", headers=headers).status_code == 401, text
    for text in ("Basic YTpi", "Bearer", "Bearer ", f"pg_1_{_SECRET}"):
        assert guarded.client.get("/v1/jobs", headers={"Authorization": text}).status_code == 401, text


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("way", ["header", "cookie"])
def test_a_token_is_good_for_its_scope_and_those_within_it(guarded: Api, scope: str, way: str) -> None:
    """403 for what needs more, by a header and by a cookie alike."""
    headers = guarded.token(scope)
    if way == "cookie":
        headers = {"Cookie": f"{COOKIE}={headers['Authorization'].removeprefix('Bearer ')}"}
    for (method, path), needed in NEEDED.items():
        status, text = ask(guarded.client, method, path, headers)
        if needed is None or SCOPES.index(needed) <= SCOPES.index(scope):
            assert status != 401 or path == "/session", (method, path, text)
            assert status != 403 or "not-yours" in text, (method, path, text)
        else:
            assert (status, "scope-missing" in text) == (403, True), (method, path, text)


def test_nothing_of_a_token_is_logged_or_answered(guarded: Api, caplog: pytest.LogCaptureFixture) -> None:
    """Whether it is good or not, in whatever place it comes."""
    caplog.set_level(logging.DEBUG)
    good = guarded.token("submit")["Authorization"].removeprefix("Bearer ")
    bad = f"pg_1_{'Zq' * 21}x"
    for text in (good, bad):
        for headers in ({"Authorization": f"Bearer {text}"}, {"Cookie": f"{COOKIE}={text}"}):
            for method, path in NEEDED:
                assert text[5:] not in ask(guarded.client, method, path, headers)[1]
        answer = guarded.client.post("/session", json={"token": text})
        assert text[5:] not in answer.text
    assert good[5:] not in caplog.text
    assert bad[5:] not in caplog.text
    with guarded.database.read() as session:
        assert all(good[5:] not in str(token) for token in tokens.list_tokens(session))


def test_a_server_whose_tokens_have_all_ended_is_not_open_again(guarded: Api) -> None:
    """Whoever asked for tokens once goes on to do so, whatever became of them."""
    assert guarded.client.get("/v1/jobs").status_code == 401
    with guarded.database.write() as session:
        tokens.revoke(session, "the first")
    assert guarded.client.get("/v1/jobs").status_code == 401
    assert guarded.client.get("/v1/access").json()["open"] is False


def test_an_open_server_answers_to_this_machine_by_its_own_name_alone(served: Api) -> None:
    """Another name was made to point here, or a proxy stands before it."""
    for host in ("127.0.0.1", "127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]:8000"):
        assert served.client.get("/v1/jobs", headers={"Host": host}).status_code == 200, host
    others = (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "[::1",
        "",
        "a b",
        "@",
        "::1",
    )
    for host in (*others, "localhost@evil.example", "evil.example#localhost", "\x00"):
        answer = served.client.get("/v1/jobs", headers={"Host": host})
        problem(answer, 401, "token-required")
    for header in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Via"):
        answer = served.client.get("/v1/jobs", headers={header: "127.0.0.1"})
        problem(answer, 401, "token-required")


def test_what_another_sites_page_sends_is_refused(served: Api) -> None:
    """Whatever would change something; what only reads is kept from its scripts by the browser."""
    own = {"Host": "127.0.0.1:8000"}
    refused: tuple[dict[str, str], ...] = (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "nonsense"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:8001"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1:8000.evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8000"},
    )
    for headers in refused:
        for method, path in ((method, path) for method, path in NEEDED if method != "GET"):
            answer = served.client.request(method, path.format(job=1), headers=own | headers)
            problem(answer, 403, "cross-site")
        answer = served.client.get("/v1/jobs", headers=own | headers)
        assert "access-control-allow-origin" not in answer.headers
    for headers in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://127.0.0.1:8000"}):
        assert served.client.delete("/session", headers=own | headers).status_code == 204


def test_owners_and_admins_steer_a_job_and_others_do_not(make_api: Callable[..., Api]) -> None:
    """What came without a token is for admins alone; reading is for all."""
    made = make_api()
    owner, other = made.token("submit", "owner"), made.token("submit", "other")
    admin, reader = made.token("admin", "boss"), made.token("read", "reader")
    document = made.submit(lines(5), owner).json()
    assert document["submitted_by"] == "owner"
    job = document["job"]
    nobodys = submit_job(made.database, 4, key="by the command line").id
    for action in ("pause", "resume", "cancel", "retry", "cancel"):
        path = f"/v1/jobs/{job}/{action}"
        problem(made.client.post(path, headers=other), 403, "not-yours")
        problem(made.client.post(path, headers=reader), 403, "scope-missing")
        assert made.client.post(path, headers=owner).status_code == 200, action
        problem(made.client.post(f"/v1/jobs/{nobodys}/{action}", headers=owner), 403, "not-yours")
        assert made.client.post(f"/v1/jobs/{nobodys}/{action}", headers=admin).status_code == 200, action
    problem(made.client.delete(f"/v1/jobs/{job}", headers=other), 403, "not-yours")
    problem(made.client.delete(f"/v1/jobs/{job}", headers=reader), 403, "scope-missing")
    assert made.client.delete(f"/v1/jobs/{job}", headers=owner).status_code == 204
    problem(made.client.get(f"/v1/jobs/{job}", headers=reader), 404, "no-such-job")
    assert made.client.delete(f"/v1/jobs/{nobodys}", headers=admin).status_code == 204
