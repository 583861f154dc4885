"""The list of jobs, one in full, and steering it: what storage and the command line say."""

import json
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from patchgrid.storage.jobs import job_list, jobs
from patchgrid.storage.jobs.progress import job_progress
from patchgrid.storage.output.documents import job_json
from patchgrid.storage.queue import control, workers
from patchgrid.storage.queue.job_status import look
from patchgrid.storage.queue.workers import WorkerInfo
from support.api.api_clients import Api, every_item, problem
from support.api.api_jobs import Filled
from support.cli.commands import patchgrid
from support.storage.storage_backends import run_job, submit_job


def test_jobs_are_those_of_storage_newest_first(filled: Filled, reading: TestClient) -> None:
    """With how far each is, as `job list --json` prints them."""
    with filled.database.read() as session:
        found = [job_json(*each) for each in job_list.page(session)]
    items = every_item(reading, "/v1/jobs", limit=50)
    assert items == [job | {"submitted_by": None, "owners": []} for job in found]
    assert [item["job"] for item in items] == sorted((item["job"] for item in items), reverse=True)
    printed = patchgrid("job", "list", "--json", "--db", filled.database.url)
    assert sorted(json.loads(printed.stdout), key=lambda job: -job["job"]) == found


def test_jobs_come_page_by_page_each_once(filled: Filled, reading: TestClient) -> None:
    """However small the pages are."""
    whole = reading.get("/v1/jobs").json()["items"]
    for limit in (1, 2, len(whole), 200):
        assert every_item(reading, "/v1/jobs", limit=limit) == whole


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"state": "done"}, {1, 2, 3, 4}),
        ({"state": "running"}, {5}),
        ({"state": "cancelled"}, set()),
        ({"model": "an/other"}, {6}),
        ({"model": "an"}, set()),
        ({"search": "SECOND"}, {5}),
        ({"search": "an/other"}, {6}),
        ({"search": "3"}, {3}),
        ({"search": "%"}, set()),
        ({"search": "_"}, set()),
        ({"search": "' OR 1=1 --"}, set()),
        ({"search": "9" * 400}, set()),
    ],
)
def test_jobs_are_found(
    filled: Filled, reading: TestClient, query: dict[str, str], expected: set[int]
) -> None:
    """By state, model, id and parts of names; what people type is no pattern and no SQL."""
    assert {item["job"] for item in every_item(reading, "/v1/jobs", **query)} == expected


def test_a_job_is_shown_in_full(filled: Filled, reading: TestClient) -> None:
    """By id, by name, and as the last one."""
    document = reading.get("/v1/jobs/first").json()
    assert document == reading.get("/v1/jobs/1").json()
    with filled.database.read() as session:
        known = job_json(filled.finished, job_progress(session, 1))
        serving = look(session, 1).serving
    assert {name: document[name] for name in known} == known
    assert document["warnings"] == [{"warning": "an answer lacks its space", "pairs": 1}]
    assert document["provenance"][0]["weights_hash"] == "weights"
    assert document["troubles"] == {"retried": 0, "split": 0}
    assert document["serving"] == serving
    assert reading.get("/v1/jobs/last").json()["job"] == filled.pending.id


@pytest.mark.parametrize("name", ["0", "7", "99999999999999999999", "nobody", "-1", "1.0", "1e0", "\u0661"])
def test_a_job_that_is_not_there_is_not_found(reading: TestClient, name: str) -> None:
    """By any question about it."""
    for what in ("", "/components", "/pairs", "/pairs/0", "/exact", "/verification", "/export", "/events"):
        problem(reading.get(f"/v1/jobs/{name}{what}"), 404, "no-such-job")


def test_the_last_of_no_jobs_is_not_found(served: Api) -> None:
    """There is a message of its own."""
    assert "no jobs yet" in problem(served.client.get("/v1/jobs/last"), 404, "no-such-job")["detail"]


def test_a_jobs_workers_are_those_of_now_after_its_end_too(make_api: Callable[..., Api]) -> None:
    """An ended job's own numbers are kept; who could work on its model is not one of them."""
    made = make_api()
    job = run_job(made.database, submit_job(made.database, 4))
    assert made.client.get(f"/v1/jobs/{job.id}").json()["serving"] == 0
    with made.database.write() as session:
        workers.register(session, WorkerInfo("node/1/1", "node", 1, "cpu", ("a/model",)))
    made.service.answers._now = lambda: float("inf")
    assert made.client.get(f"/v1/jobs/{job.id}").json()["serving"] == 1


def test_a_job_is_steered(served: Api) -> None:
    """Each answer is the job as it is then; what cannot be is a conflict."""
    job = submit_job(served.database, 9)

    def steer(action: str) -> dict[str, object]:
        answer = served.client.post(f"/v1/jobs/{job.id}/{action}")
        assert answer.status_code == 200, answer.text
        document: dict[str, object] = answer.json()
        with served.database.read() as session:
            known = job_json(jobs.get(session, job.id), job_progress(session, job.id))
        assert {name: document[name] for name in known} == known
        return document

    assert steer("pause")["state"] == "paused"
    assert steer("resume")["state"] == "pending"
    assert steer("cancel")["state"] == "cancelled"
    assert steer("cancel")["state"] == "cancelled"
    for action in ("pause", "resume"):
        problem(served.client.post(f"/v1/jobs/{job.id}/{action}"), 409, "job-finished")
    assert steer("retry")["chunks_retried"] == 3
    run_job(served.database, job)
    for action in ("pause", "resume", "cancel"):
        problem(served.client.post(f"/v1/jobs/{job.id}/{action}"), 409, "job-finished")
    assert steer("retry")["chunks_retried"] == 0
    problem(served.client.post("/v1/jobs/99/retry"), 404, "no-such-job")


def test_a_changed_job_is_shown_as_it_is(served: Api) -> None:
    """Though answers about jobs that go on are kept for a second: each state has its own."""
    job = submit_job(served.database, 9)
    states = []
    for change in (control.pause, control.unpause, control.cancel):
        with served.database.write() as session:
            change(session, job.id)
        states.append(served.client.get(f"/v1/jobs/{job.id}").json()["state"])
    assert states == ["paused", "pending", "cancelled"]


def test_a_deleted_job_is_gone_and_its_answers_with_it(served: Api) -> None:
    """Another that takes its place is not answered about with the old one's numbers."""
    job = run_job(served.database, submit_job(served.database, 8))
    path = f"/v1/jobs/{job.id}/components"
    before = served.client.get(path).json()
    assert served.client.delete(f"/v1/jobs/{job.id}").status_code == 204
    problem(served.client.get(path), 404, "no-such-job")
    again = run_job(served.database, submit_job(served.database, 12))
    after = served.client.get(f"/v1/jobs/{again.id}/components").json()
    assert {row["n"] for row in before["items"]} == {8}
    assert {row["n"] for row in after["items"]} == {12}
