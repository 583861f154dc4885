"""Workers, queue, models, figures, health, and what a client may do."""

import csv
import io
import json
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from patchgrid.core.plain import plain
from patchgrid.storage.queue import metrics, workers
from patchgrid.storage.queue.workers import WorkerInfo
from support.api.api_clients import Api
from support.api.api_jobs import Filled
from support.cli.commands import patchgrid


def test_workers_and_queue_are_those_of_storage(filled: Filled, reading: TestClient) -> None:
    """As JSON and as CSV."""
    with filled.database.read() as session:
        known, waiting = plain(workers.list_workers(session)), plain(metrics.queues(session))
    for path, items in (("/v1/workers", known), ("/v1/queue", waiting)):
        found = reading.get(path).json()["items"]
        drop = {"seen_ago", "oldest_seconds"}
        assert [{k: v for k, v in row.items() if k not in drop} for row in found] == [
            {k: v for k, v in row.items() if k not in drop} for row in items
        ]
        rows = list(csv.DictReader(io.StringIO(reading.get(path, params={"format": "csv"}).text)))
        assert [list(row) for row in rows] == [list(row) for row in items]
    printed = patchgrid("worker", "list", "--json", "--db", filled.database.url)
    names = [row["name"] for row in json.loads(printed.stdout)["workers"]]
    assert names == [row["name"] for row in reading.get("/v1/workers").json()["items"]]


def test_figures_are_prometheus_text(filled: Filled, reading: TestClient) -> None:
    """What storage writes for it."""
    answer = reading.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "patchgrid_chunks{" in answer.text


def test_models_are_those_of_the_list_with_who_serves_them(filled: Filled, reading: TestClient) -> None:
    """A revision is served by who serves its model."""
    assert reading.get("/v1/models").json()["items"] == [
        {"model": "a/model", "revision": None, "serving": 1},
        {"model": "pinned", "revision": "v1", "serving": 0},
    ]


def test_without_a_list_what_workers_serve_may_be_asked_for(make_api: Callable[..., Api]) -> None:
    """Of the last day, and at its default revision."""
    made = make_api(models=())
    assert made.client.get("/v1/models").json()["items"] == []
    with made.database.write() as session:
        workers.register(session, WorkerInfo("node/1/1", "node", 1, "cpu", ("m", "n")))
    assert [row["model"] for row in made.client.get("/v1/models").json()["items"]] == ["m", "n"]


def test_health_needs_no_token_and_says_what_answers(served: Api) -> None:
    """The kind of database, and the version."""
    served.token("admin")
    document = served.client.get("/healthz").json()
    assert document["status"] == "ok"
    assert document["database"] == served.database.engine.dialect.name
    assert document["version"] == served.client.get("/openapi.json").json()["info"]["version"]


@pytest.mark.parametrize("path", ["/healthz", "/"])
def test_a_balancer_may_ask_by_head(served: Api, path: str) -> None:
    """What it would be told of a GET, without the document."""
    asked = served.client.head(path)
    assert (asked.status_code, asked.headers["content-type"]) == (
        200,
        served.client.get(path).headers["content-type"],
    )


def test_a_client_is_told_what_it_may_do(served: Api) -> None:
    """Open; with a token; without one."""
    everything = ["read", "submit", "admin"]
    assert served.client.get("/v1/access").json()["scopes"] == everything
    token = served.token("submit", "lab")
    document = served.client.get("/v1/access", headers=token).json()
    assert (document["open"], document["token"], document["scopes"]) == (False, "lab", everything[:2])
    assert document["limits"]["pairs"] == served.service.settings.pairs
    assert served.client.get("/v1/access").json()["scopes"] == []


@pytest.mark.parametrize(
    ("path", "first"), [("/v1/workers", "id"), ("/v1/queue", "model"), ("/v1/jobs", "job")]
)
def test_an_empty_lists_csv_is_its_head(served: Api, path: str, first: str) -> None:
    """The fields, no rows, no error."""
    answer = served.client.get(path, params={"format": "csv"})
    assert answer.status_code == 200
    assert answer.text.startswith(f"{first},")
    assert answer.text.count("\n") == 1
