"""Over HTTP: whether the model does the task, skipped pairs, and effects as shares."""

import csv
import io
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from patchgrid.core.plain import plain
from patchgrid.storage.jobs import job_list
from patchgrid.storage.output.documents import component_json
from patchgrid.storage.output.export import export_rows
from patchgrid.storage.results import components
from patchgrid.storage.results.task import job_task, task_json
from support.api.api_clients import Api, lines, problem
from support.api.api_jobs import Filled
from support.storage.storage_backends import run_job


def divided(numbers: dict[str, Any], whole: dict[str, Any], by: float, fields: tuple[str, ...]) -> None:
    """Check that these fields are divided, and that the others are not."""
    for name, value in whole.items():
        wanted = value / by if name in fields and value is not None else value
        assert numbers[name] == (pytest.approx(wanted) if isinstance(wanted, float) else wanted), name


def test_every_summary_has_the_task(filled: Filled, reading: TestClient) -> None:
    """The job, its components and its verification: as storage has it, in numbers and in words."""
    with filled.database.read() as session:
        known = plain(task_json(job_task(session, filled.finished)))
    assert known["pairs"] == 12
    for path in ("", "/components", "/verification"):
        assert reading.get(f"/v1/jobs/first{path}").json()["task"] == known, path
    assert reading.get(f"/v1/jobs/{filled.pending.id}").json()["task"] is None


def test_numbers_become_shares_of_the_same_difference(filled: Filled, reading: TestClient) -> None:
    """In every answer that has numbers in units of the metric."""
    job, by = filled.finished, reading.get("/v1/jobs/first").json()["task"]["difference"]
    with filled.database.read() as session:
        rows = plain([component_json(row) for row in components.components(session, job)])
    fields = ("mean", "mean_abs", "std", "estimate", "ci_low", "ci_high", "pairs_low", "pairs_high")
    items = reading.get("/v1/jobs/first/components", params={"normalise": True}).json()["items"]
    for item, row in zip(items, rows, strict=True):
        divided(item, row, by, fields)
    for path, numbers in (
        ("verification", ("bias", "bias_se", "intercept", "intercept_se")),
        ("exact", ("score", "effect")),
    ):
        whole, share = (
            reading.get(f"/v1/jobs/first/{path}", params={"normalise": flag}).json()["items"]
            for flag in (False, True)
        )
        divided(share[0], whole[0], by, numbers)
    asked = {"site": "z", "normalise": True}
    grid = reading.get("/v1/jobs/first/heatmap", params=asked).json()
    assert grid["unit"] == "share of clean - corrupted"
    whole = reading.get("/v1/jobs/first/heatmap", params={"site": "z"}).json()
    assert grid["values"][0] == pytest.approx([value / by for value in whole["values"][0]])


def test_the_rounding_floor_becomes_a_share_too(filled: Filled, reading: TestClient) -> None:
    """Beside components, in words for them, and beside the verification."""
    by = abs(reading.get("/v1/jobs/first").json()["task"]["difference"])
    for path in ("components", "verification"):
        whole, share = (
            reading.get(f"/v1/jobs/first/{path}", params={"normalise": flag}).json()["rounding"]
            for flag in (False, True)
        )
        assert whole["floor"] == pytest.approx(0.02)
        assert share["floor"] == pytest.approx(0.02 / by)
    shown = reading.get("/v1/jobs/first/components", params={"normalise": True}).json()["rounding"]
    assert f"±{0.02 / by:.1g} of clean - corrupted for one cell, measured on " in shown["line"]


def test_a_pair_becomes_shares_of_its_own_difference(reading: TestClient) -> None:
    """That of the pair in row 5 is 10."""
    whole, share = (
        reading.get("/v1/jobs/first/pairs/5", params={"normalise": flag}).json() for flag in (False, True)
    )
    assert (whole["correct_tokens"], whole["clean_preference"]) == ([" a"], 1.5)
    assert share["top"][0]["score"] == pytest.approx(whole["top"][0]["score"] / 10)
    assert share["exact"][0]["effect"] == pytest.approx(whole["exact"][0]["effect"] / 10)


def test_an_export_has_what_it_was_divided_by(filled: Filled, reading: TestClient) -> None:
    """As the rows of storage have it."""
    rows = list(export_rows(filled.database, filled.finished, "components", normalise=True))
    text = reading.get("/v1/jobs/first/export", params={"format": "csv", "normalise": True}).text
    found = list(csv.DictReader(io.StringIO(text)))
    assert [float(row["divided_by"]) for row in found] == [row["divided_by"] for row in rows]
    assert [float(row["mean"]) for row in found] == pytest.approx([row["mean"] for row in rows])


def test_what_cannot_be_divided_is_a_problem(filled: Filled, reading: TestClient) -> None:
    """A job of which nothing is measured; a pair whose runs do not differ."""
    for path in (f"{filled.pending.id}/components", f"{filled.spanned.id}/pairs/0"):
        answer = reading.get(f"/v1/jobs/{path}", params={"normalise": True})
        assert problem(answer, 422)["type"].endswith("not-normalised"), path


def test_only_correct_is_asked_for_and_skipped_pairs_are_told(served: Api) -> None:
    """In the spec, the counts and the list of pairs."""
    document = served.submit(lines(6), only_correct=True).json()
    assert document["spec"]["only_correct"] is True
    with served.database.read() as session:
        job = job_list.find(session, document["job"])
    run_job(served.database, job, skipped={1, 4})
    shown = served.client.get(f"/v1/jobs/{job.id}").json()
    assert shown["pairs"] == {"total": 6, "done": 4, "failed": 0, "skipped": 2}
    assert (shown["state"], shown["task"]["pairs"], shown["task"]["measured"]) == ("done", 6, 4)
    items = served.client.get(f"/v1/jobs/{job.id}/pairs", params={"state": "skipped"}).json()["items"]
    assert [item["row"] for item in items] == [1, 4]
    assert json.dumps(items[0]["clean_preference"]) == "-1.5"
