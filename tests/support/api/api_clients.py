"""An HTTP application asked in the test's own process, and the files that are sent to it."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
from starlette.testclient import TestClient

from patchgrid.api.server.app import make_app
from patchgrid.api.service.service import Service
from patchgrid.api.service.settings import AllowedModel, ServerSettings
from patchgrid.storage import Database
from patchgrid.storage.access import tokens

#: What tests ask for, if they say nothing else.
SETTINGS = ServerSettings(
    models=(AllowedModel("a/model"), AllowedModel("pinned", "v1")), requests_per_second=1e9, look_every=0.05
)


@dataclasses.dataclass(frozen=True)
class Api:
    """An application, and who asks it."""

    database: Database
    client: TestClient
    service: Service

    def token(self, scope: str, name: str | None = None, **options: Any) -> dict[str, str]:
        """Make a token; give the headers of those who have it."""
        with self.database.write() as session:
            _, text = tokens.create(session, name or f"a {scope}", [scope], **options)
        return {"Authorization": f"Bearer {text}"}

    def submit(self, pairs: bytes, headers: dict[str, str] | None = None, **spec: Any) -> httpx.Response:
        """Submit a pair file as a form."""
        files = {"pairs": ("pairs.jsonl", pairs)}
        data = {"spec": json.dumps({"model": "a/model"} | spec)}
        return self.client.post("/v1/jobs", data=data, files=files, headers=headers)


@contextmanager
def api(database: Database) -> Iterator[Callable[..., Api]]:
    """Yield a function that makes applications on a database, with settings besides `SETTINGS`."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Api:
            app = make_app(database, dataclasses.replace(SETTINGS, **settings))
            client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
            return Api(database, stack.enter_context(client), app.state.service)

        yield make


def lines(count: int, *, start: int = 0) -> bytes:
    """Return a JSON Lines file of a number of pairs."""
    rows = (
        {"clean": f"clean {row}", "corrupted": f"corrupted {row}", "correct": " a", "incorrect": " b"}
        for row in range(start, start + count)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def every_page(client: httpx.Client, path: str, **query: object) -> Iterator[dict[str, Any]]:
    """Follow a list's cursors to its end; give the answers."""
    cursor: str | None = None
    while True:
        asked = query if cursor is None else {**query, "cursor": cursor}
        answer = client.get(path, params=asked)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        yield answer.json()
        cursor = answer.json()["next"]
        if cursor is None:
            return


def every_item(client: httpx.Client, path: str, **query: object) -> list[dict[str, Any]]:
    """Return all items of a list, page by page."""
    return [item for page in every_page(client, path, **query) for item in page["items"]]


def problem(answer: httpx.Response, status: int, kind: str | None = None) -> dict[str, Any]:
    """Check that an answer is a problem, and give its document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document.keys() - {"errors"} == {"type", "title", "status", "detail", "instance"}
    assert document["status"] == status
    assert document["type"].startswith("urn:patchgrid:problem:")
    if kind is not None:
        assert document["type"] == f"urn:patchgrid:problem:{kind}", document
    return document
