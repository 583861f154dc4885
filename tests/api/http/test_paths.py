"""What every answer carries, and paths and values that lead nowhere."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from patchgrid.api.routes import page
from patchgrid.api.server.app import make_app
from patchgrid.api.service.settings import ServerSettings
from patchgrid.api.web.headers import HEADERS
from patchgrid.core.sites import HEAD, SITES
from support.api.api_clients import Api, problem
from support.api.api_jobs import Filled

PASSWORDS = "root:"


def get(client: TestClient, raw_path: str) -> Any:
    """Ask for a path exactly as it is written."""
    request = client.build_request("GET", "http://127.0.0.1/")
    request.url = request.url.copy_with(raw_path=raw_path.encode())
    return client.send(request)


def assert_marked(answer: Any) -> None:
    """Check that an answer carries what every one does."""
    for name, value in HEADERS.items():
        assert answer.headers[name] == value, (answer.url, name)
    assert answer.headers["cache-control"]
    assert "server" not in answer.headers
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_every_answer_is_marked(filled: Filled, reading: TestClient) -> None:
    """Data, pages, errors, refusals, streams and what is not changed."""
    tag = reading.get("/v1/jobs/1/components").headers["etag"]
    paths = (
        "/",
        "/v1/jobs",
        "/v1/jobs/1/export",
        "/v1/jobs/1/events",
        "/metrics",
        "/healthz",
        "/openapi.json",
    )
    for path in (*paths, "/nowhere", "/assets/nowhere", "/v1/jobs/none", "/v1/jobs?limit=x"):
        assert_marked(reading.get(path))
    assert_marked(reading.get("/v1/jobs/1/components", headers={"If-None-Match": tag}))
    assert_marked(reading.patch("/v1/jobs"))
    assert_marked(reading.post("/v1/jobs", headers={"Origin": "http://evil.example"}))
    assert_marked(reading.options("/v1/jobs"))


def test_an_answer_to_a_defect_is_marked_and_tells_nothing(
    served: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500, a problem without a trace of the code, which the log has."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret-of-the-code")

    monkeypatch.setattr("patchgrid.api.routes.jobs.job_list.page", broken)
    answer = served.client.get("/v1/jobs")
    problem(answer, 500, "internal-error")
    assert_marked(answer)
    assert "secret-of-the-code" not in answer.text
    assert "secret-of-the-code" in caplog.text


@pytest.mark.parametrize("start", ["/assets/", "/", "/v1/jobs/"])
@pytest.mark.parametrize(
    "rest",
    [
        "../../../../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "..%5c..%5c..%5cetc%5cpasswd",
        "%252e%252e/%252e%252e/etc/passwd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "//etc/passwd",
        "../page.py",
        "../index.html",
        "..%2f..%2fsettings.py",
        "%00",
        "app.js%00",
        "a" * 5000,
        "%ff%fe",
        "..;/..;/etc/passwd",
        "~root",
        ".",
        "",
    ],
)
def test_a_path_leads_to_the_pages_own_files_alone(reading_api: Api, start: str, rest: str) -> None:
    """However it is written; never an error of the server's."""
    answer = get(reading_api.client, start + rest)
    assert answer.status_code in (200, 404, 405, 422, 401), answer.text
    assert PASSWORDS not in answer.text
    assert "from patchgrid" not in answer.text
    assert_marked(answer)
    if answer.status_code == 200:
        assert answer.request.url.path in ("/", "//", "/v1/jobs"), "only the page itself is here"


def test_the_pages_files_are_given_with_their_types(reading: TestClient) -> None:
    """Each that there is, as itself; browsers ask about it each time."""
    folder = page.FOLDER / "assets"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        answer = reading.get(f"/assets/{path.relative_to(folder)}")
        assert answer.content == path.read_bytes()
        assert_marked(answer)
    assert "html" in reading.get("/").headers["content-type"]


def test_the_page_is_given_sites_and_states_as_their_records_have_them(reading: TestClient) -> None:
    """As a module that exports them, in order."""
    answer = reading.get("/records.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    given = dict(re.findall(r"^export const (\w+) = (.*);$", answer.text, re.MULTILINE))
    schemas = reading.get("/openapi.json").json()["components"]["schemas"]
    assert json.loads(given["JOB_STATES"]) == schemas["JobState"]["enum"]
    assert json.loads(given["PAIR_STATES"]) == schemas["PairState"]["enum"]
    assert set(json.loads(given["ENDED_JOBS"])) == {"done", "failed", "cancelled"}
    records = json.loads(given["SITE_RECORDS"])
    assert [record["name"] for record in records] == list(SITES)
    heads = [record["name"] for record in records if record["heads"]]
    assert set(heads) == {name for name, site in SITES.items() if site.index == HEAD and site.count}
    assert {record["name"] for record in records if record["wide"]} == {"mlp_post", "edge"}
    assert reading.get("/assets").status_code == 404
    assert reading.get("/assets/").status_code == 404


def test_a_browser_keeps_the_pages_files_and_asks_whether_they_are_the_same(reading: TestClient) -> None:
    """They are sent once, packed, and again only when they changed."""
    path = "/assets/vendor/" + next((page.FOLDER / "assets" / "vendor").glob("vega*.js")).name
    with reading.stream("GET", path) as answer:
        packed = sum(map(len, answer.iter_raw()))
    assert answer.headers["cache-control"] == "no-cache"
    assert 2 * packed < (page.FOLDER / path.removeprefix("/")).stat().st_size
    again = reading.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["cache-control"] == "no-cache"


def test_a_link_out_of_the_pages_folder_leads_nowhere(
    filled: Filled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a file and to a folder."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "assets" / "own.js").write_text("1")
    (tmp_path / "assets" / "file").symlink_to(tmp_path / "secret")
    (tmp_path / "assets" / "folder").symlink_to("/etc")
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    with TestClient(make_app(filled.database, ServerSettings()), base_url="http://127.0.0.1") as client:
        assert client.get("/assets/own.js").text == "1"
        for path in ("file", "folder/passwd", "folder"):
            problem(client.get(f"/assets/{path}"), 404, "no-such-path")


def test_a_path_with_or_without_a_slash_is_another_one(reading: TestClient) -> None:
    """Nobody is sent elsewhere."""
    for path in ("/v1/jobs/", "/v1", "/v1/jobs/1/", "/healthz/", "/V1/jobs", "/docs", "/redoc", "/session"):
        answer = reading.get(path, follow_redirects=False)
        assert answer.status_code in (404, 405), path
        problem(answer, answer.status_code)


_VALUES = (
    "",
    " ",
    "'",
    "' OR '1'='1",
    "1; DROP TABLE job",
    '") UNION SELECT hash FROM token --',
    "%",
    "%27",
    "\\",
    "{{1234567*7}}",
    "${7*7}",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "\x00",
    "\n",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    "\u202e",
    "\uffff",
    "-1",
    "0",
    "1e309",
    "NaN",
    "9" * 400,
    "x" * 20_000,
    "null",
    "true",
    "[]",
)


def _parameters(app: FastAPI) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield each parameter of the read endpoints: path, location, name, and other required parameters."""
    for path, operations in app.openapi()["paths"].items():
        for each in operations.get("get", {}).get("parameters", ()):
            if each["in"] in ("query", "path"):
                yield path, each["in"], each["name"], []


def test_no_value_of_any_parameter_is_more_than_a_value(filled: Filled, reading: TestClient) -> None:
    """SQL, templates, markup, paths, huge and empty: an answer or a refusal, and the same jobs afterwards."""
    before = reading.get("/v1/jobs").content
    for path, where, name, _ in _parameters(reading.app):  # type: ignore[arg-type]
        for value in _VALUES:
            query = {"site": "z"} if path.endswith("heatmap") else {}
            place = path
            if where == "query":
                query[name] = value
            else:
                place = path.replace("{" + name + "}", _quoted(value))
            answer = reading.get(place.format(job=1, row=0), params=query)
            assert answer.status_code in (200, 404, 405, 422), (place, name, value, answer.text)
            assert "8641969" not in answer.text, "nothing is computed"
            if answer.status_code != 200:
                problem(answer, answer.status_code)
    assert reading.get("/v1/jobs").content == before


def _quoted(value: str) -> str:
    return "".join(f"%{byte:02x}" for byte in value[:2000].encode())
