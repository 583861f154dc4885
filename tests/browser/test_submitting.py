"""A job from the form to its results, measured by a real worker; and what is wrong with a bad file."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.conftest import EXAMPLES, Visit
from support.browser.servers import page_at, working

pytestmark = pytest.mark.browser


def test_a_job_is_submitted_followed_and_read(visit: Visit, tmp_path: Path) -> None:
    """It waits, says why, runs when a worker comes, ends under the reader's eyes, and its results open."""
    database = tmp_path / "jobs.db"
    with page_at(database) as address:
        visitor = visit(address)
        page = visitor.page
        visitor.open("#/jobs")
        visitor.see("No jobs yet.")
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Submit").click()
        page.get_by_label("Pair file").set_input_files(EXAMPLES / "ioi.jsonl")
        page.get_by_label("resid_post").check()
        page.get_by_label("relp").check()
        page.get_by_label("Name (optional)").fill("from the page")
        page.get_by_role("button", name="Submit").click()
        expect(visitor.heading()).to_have_text("from the page")
        visitor.see("No worker serves this model")
        with working(database):
            # Through the stream of events, without a reload.
            expect(page.locator(".head .state").first).to_have_text("done", timeout=240_000)
            expect(page.locator(".tile").first).to_contain_text("300 / 300")
            visitor.open("#/workers")
            expect(page.get_by_role("table", name="All workers").locator("tbody tr")).to_have_count(1)
        page.get_by_role("link", name="Jobs").first.click()
        page.get_by_role("link", name="from the page").click()
        views = page.get_by_role("navigation", name="Views of this job").get_by_role("link")
        expect(views).to_have_count(6)
        for view in views.all()[1:]:
            view.click()
            expect(view).to_have_attribute("aria-current", "page")
            visitor.settle()
            expect(page.locator("main canvas, main table").first).to_be_attached()
        assert visitor.faults == []


def test_the_same_job_is_not_made_twice(visit: Visit) -> None:
    """The page goes to the one that is there, and says so."""
    visitor = visit()
    for _ in range(2):
        visitor.open("#/submit")
        visitor.page.get_by_label("Pair file").set_input_files(EXAMPLES / "ioi_abc.jsonl")
        visitor.page.get_by_role("button", name="Submit").click()
        visitor.see("the job makes no progress")
    visitor.see("This job already exists")


def test_a_waiting_job_is_paused_resumed_cancelled_and_deleted(visit: Visit, pictures: Path) -> None:
    """What cannot be taken back is asked about first."""
    visitor = visit()
    page = visitor.page
    visitor.open("#/submit")
    page.get_by_label("Pair file").set_input_files(EXAMPLES / "greater_than.csv")
    page.get_by_role("button", name="Submit").click()
    state = page.locator(".head .state").first
    page.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(state).to_have_text("pending")
    page.get_by_role("button", name="Cancel…").click()
    assert visitor.inaccessible() == []
    visitor.shoot(pictures / "cancel.png")
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(state).to_have_text("cancelled")
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete the job").click()
    expect(visitor.heading()).to_have_text("Jobs")
    assert visitor.faults == []


def test_a_bad_file_is_shown_line_by_line(visit: Visit, tmp_path: Path, pictures: Path) -> None:
    """Each with its number and what is wrong; the form keeps its choices."""
    good = (EXAMPLES / "ioi.jsonl").read_text(encoding="utf-8").splitlines()[0]
    no_answer = json.dumps({"clean": "one two", "corrupted": "one three", "incorrect": " b"})
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{good}\n{no_answer}\nnot <b>JSON</b>\n", encoding="utf-8")
    visitor = visit()
    visitor.open("#/submit")
    visitor.page.get_by_label("Pair file").set_input_files(path)
    visitor.page.get_by_role("button", name="Submit").click()
    rows = visitor.page.get_by_role("alert").locator("tbody tr")
    expect(rows).to_have_count(2)
    assert rows.nth(0).locator("td").first.inner_text() == "2"
    assert "correct" in rows.nth(0).inner_text()
    assert rows.nth(1).locator("td").first.inner_text() == "3"
    assert visitor.inaccessible() == []
    visitor.shoot(pictures / "bad-file.png")
    assert visitor.page.get_by_label("mlp_out").is_checked()


def test_what_does_not_fit_is_said_before_it_is_sent(visit: Visit) -> None:
    """Edges are a job of their own, and a job needs a site."""
    visitor = visit()
    visitor.open("#/submit")
    page = visitor.page
    page.get_by_label("Pair file").set_input_files(EXAMPLES / "ioi.jsonl")
    edges = page.get_by_role("checkbox", name="edge edges between components")
    edges.check()
    assert not page.get_by_label("mlp_out").is_checked()
    assert page.get_by_role("checkbox", name="eap edges by attribution patching").is_checked()
    edges.uncheck()
    visitor.see("Choose at least one site.")
    assert page.get_by_role("button", name="Submit").is_disabled()
