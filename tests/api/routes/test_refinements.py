"""Refining a job over HTTP: what storage does, for those who may, with what came of it."""

import json
from collections.abc import Callable

import pytest

from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.rounds.requests import list_refinements
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.runner import run_job
from patchgrid.workers.testing import load
from support.api.api_clients import Api, lines, problem

ENGINE = load(ModelKey("stand-in"))


def measured(served: Api, headers: dict[str, str] | None = None, **spec: object) -> JobRecord:
    """Submit 60 pairs and measure them."""
    answer = served.submit(lines(60), headers, sites=["z", "mlp_out"], exact=0.1, **spec)
    assert answer.status_code == 201, answer.text
    return work(served, answer.json()["job"])


def work(served: Api, job_id: int) -> JobRecord:
    """Measure what a job still lacks, as a worker would."""
    with served.database.read() as session:
        job = jobs.get(session, job_id)
    run_job(served.database, ENGINE, job)
    with served.database.read() as session:
        return jobs.get(session, job_id)


def test_a_job_is_refined_and_its_certificate_is_whole(served: Api) -> None:
    """The job runs again; its document, its list of refinements and its events say how far it is."""
    job = measured(served)
    assert served.client.get(f"/v1/jobs/{job.id}").json()["refinement"] is None
    answer = served.client.post(f"/v1/jobs/{job.id}/refine", json={"certify": 3, "max_exact": 1})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["state"], answer.json()["rounds"]) == ("running", 1)
    running = served.client.get(f"/v1/jobs/{job.id}").json()["refinement"]
    assert (running["kind"], running["state"]) == ("certify", "running")
    assert "components" not in running["result"]
    work(served, job.id)
    with served.client.stream("GET", f"/v1/jobs/{job.id}/events") as stream:
        data = [line.removeprefix("data: ") for line in stream.iter_lines() if line.startswith("data: {")]
    latest = json.loads(data[0])["refinement"]
    assert latest["state"] == "done"
    [found] = served.client.get(f"/v1/jobs/{job.id}/refinements").json()["items"]
    with served.database.read() as session:
        [record] = list_refinements(session, job.id)
    assert found["result"] == json.loads(json.dumps(record.result))
    assert latest["result"]["counts"] == found["result"]["counts"]
    assert sum(found["result"]["counts"].values()) == 8


def test_a_submit_brings_refinements(served: Api) -> None:
    """In the form's spec or the query; a job that is there gets those that it lacks, once."""
    job = measured(served, refinements=[{"top": 1}])
    assert job.rounds == 1
    for _ in range(2):
        again = served.submit(
            lines(60), sites=["z", "mlp_out"], exact=0.1, refinements=[{"top": 1}, {"components": ["m1"]}]
        )
        assert (again.status_code, again.json()["job"]) == (200, job.id)
    work(served, job.id)
    items = served.client.get(f"/v1/jobs/{job.id}/refinements").json()["items"]
    assert [each["request"] for each in items] == [{"top": 1}, {"components": ["m1"]}]
    query = {"model": "a/model", "sites": "z", "exact": 0.1, "refinements": '[{"top": 2}]'}
    body = served.client.post("/v1/jobs", params=query, content=lines(60))
    assert body.status_code == 201, body.text
    assert work(served, body.json()["job"]).rounds == 1


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "a refinement takes one of"),
        ({"top": 1, "certify": 2}, 422, "2 given"),
        ({"top": -1}, 422, "top: "),
        ({"certify": 2, "confidence": 1}, 422, "confidence: "),
        ({"tops": 1}, 422, "tops: "),
        ({"components": ["a9.h1"]}, 409, "did you mean"),
        ({"components": ["nonsense"]}, 422, "nonsense"),
        ({"certify": 8}, 409, "has only 8 components"),
    ],
)
def test_a_bad_refinement_is_refused(served: Api, body: dict[str, object], status: int, words: str) -> None:
    """With the field, where a single one is wrong; nothing is stored."""
    job = measured(served)
    answer = served.client.post(f"/v1/jobs/{job.id}/refine", json=body)
    assert words in problem(answer, status)["detail"]
    assert served.client.get(f"/v1/jobs/{job.id}/refinements").json()["items"] == []


def test_only_owners_refine_and_within_their_quota(make_api: Callable[..., Api]) -> None:
    """As for a retry."""
    served = make_api(open_jobs=1)
    mine, other, reader = (served.token("submit", "mine"), served.token("submit", "o"), served.token("read"))
    job = measured(served, mine)
    path = f"/v1/jobs/{job.id}/refine"
    for headers, kind in ((other, "not-yours"), (reader, "scope-missing")):
        problem(served.client.post(path, json={"top": 1}, headers=headers), 403, kind)
    assert served.submit(lines(3, start=100), mine).status_code == 201
    problem(served.client.post(path, json={"top": 1}, headers=mine), 429, "too-many-open-jobs")
    served.client.post("/v1/jobs/last/cancel", headers=mine)
    assert served.client.post(path, json={"top": 1}, headers=mine).status_code == 200


def test_a_job_that_runs_is_not_refined(served: Api) -> None:
    """It says what to do."""
    job_id = served.submit(lines(4)).json()["job"]
    answer = served.client.post(f"/v1/jobs/{job_id}/refine", json={"top": 1})
    assert "refine it when it is done" in problem(answer, 409, "nothing-to-refine")["detail"]
