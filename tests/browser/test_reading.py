"""Reading: long prompts, numbers below each other, copying, and coming back."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from browser.conftest import Visit
from patchgrid.storage import Database
from support.browser.servers import page_at
from support.storage.storage_backends import run_chunk, submit_job

pytestmark = pytest.mark.browser

LENGTH, FIRST = 400, 380
DENIED = "navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'));"


def _lengthen(route: Route) -> None:
    """Make the prompts 400 tokens long, of which the first 380 are shared."""
    answer = route.fetch()
    pair: dict[str, Any] = answer.json()
    pair["tokens"] = [f" w{place}" for place in range(LENGTH)]
    pair["corrupted_tokens"] = [*pair["tokens"][:FIRST], " other", *pair["tokens"][FIRST + 1 :]]
    layers, heads = len(pair["scores"]["z"]), len(pair["scores"]["z"][0][0])
    pair["scores"] = {"z": [[[0.1] * heads for _ in range(LENGTH)] for _ in range(layers)]}
    pair["spans"] = {}
    route.fulfill(response=answer, json=pair)


def test_a_long_prompt_opens_at_its_end_with_its_beginning_folded(visit: Visit) -> None:
    """What both prompts begin with has no effect; the answer's position is in sight, before and after."""
    visitor = visit()
    page = visitor.page
    page.route("**/v1/jobs/1/pairs/3?*", _lengthen)
    visitor.open("#/jobs/1/pairs/3?site=z")
    clean = page.get_by_role("list", name="Clean prompt")
    expect(clean.locator("li")).to_have_count(1 + 3 + LENGTH - FIRST)
    expect(clean).to_contain_text("377 shared tokens")
    assert visitor.inaccessible() == []
    clean.get_by_role("button").click()
    visitor.arrive("prefix=shown")
    expect(clean.locator("li")).to_have_count(LENGTH)
    seen = "each => each.scrollTop + each.clientHeight >= each.scrollHeight - 1"
    assert clean.evaluate(seen)
    assert clean.evaluate("each => each.clientHeight < each.scrollHeight")
    chart = page.locator(".panel[aria-label='Layer by token'] .canvas")
    chart.locator("canvas").wait_for(state="attached")
    expect(chart).to_have_js_property(
        "scrollLeft", chart.evaluate("each => each.scrollWidth - each.clientWidth")
    )
    assert chart.evaluate("each => each.scrollLeft") > 1000
    page.get_by_label("Show the shared prefix (377 tokens)").uncheck()
    expect(clean.locator("li")).to_have_count(1 + 3 + LENGTH - FIRST)


def test_short_prompts_are_shown_whole(visit: Visit) -> None:
    """There is nothing to fold."""
    visitor = visit()
    visitor.open("#/jobs/1/pairs/3?site=z")
    expect(visitor.page.get_by_label("Show the shared prefix")).to_have_count(0)
    expect(visitor.page.locator(".fold")).to_have_count(0)


@pytest.mark.parametrize("view", ["#/jobs/1/components?site=z", "#/jobs/1/heads?site=z"])
def test_decimal_points_stand_below_each_other(visit: Visit, view: str) -> None:
    """In each column of numbers of their own digits; what is copied is the number alone."""
    visitor = visit()
    visitor.open(view)
    for folded in visitor.page.get_by_text("As a table").all():
        folded.click()
        visitor.page.locator("details table").wait_for()
    script = """() => {
      const columns = new Map();
      for (const cell of document.querySelectorAll("tbody td.number")) {
        const text = cell.firstChild;
        const place = text?.nodeType === Node.TEXT_NODE ? text.data.indexOf(".") : -1;
        if (place < 0) continue;
        const range = document.createRange();
        range.setStart(text, place);
        range.setEnd(text, place + 1);
        const at = columns.get(cell.cellIndex) ?? { points: [], lengths: [] };
        at.points.push(range.getBoundingClientRect().left);
        at.lengths.push(text.data.length - place);
        columns.set(cell.cellIndex, at);
      }
      return [...columns.values()];
    }"""
    columns = visitor.page.evaluate(script)
    assert len(columns) >= 5
    assert any(len(set(column["lengths"])) > 1 for column in columns)
    for column in columns:
        assert max(column["points"]) - min(column["points"]) < 0.6
    assert visitor.page.locator(".pad").first.inner_text() == ""


@pytest.mark.parametrize("allowed", [True, False])
def test_copying_works_with_and_without_permission(visit: Visit, *, allowed: bool) -> None:
    """By keys too; it is said, and the focus stays."""
    visitor = visit()
    page = visitor.page
    if not allowed:
        page.add_init_script(DENIED)
    visitor.open("#/jobs/1")
    key = visitor.get("v1/jobs/1").json()["key"]
    button = page.get_by_role("button", name="Copy the job's key")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".copy [role=status]").filter(has_text="Copied")).to_have_count(1)
    expect(button).to_be_focused()
    visitor.open("#/jobs")
    page.get_by_label("Name").press("Control+V")
    expect(page.get_by_label("Name")).to_have_value(key)
    assert visitor.faults == []


def test_what_people_need_elsewhere_can_be_copied(visit: Visit) -> None:
    """Components' names, prompts, hashes, commands."""
    visitor = visit()
    for view, what in (
        ("#/jobs/1/components/a1.h2?site=z", "Copy the component's name"),
        ("#/jobs/1/pairs/3", "Copy the clean prompt"),
        ("#/jobs/1/pairs/3", "Copy the corrupted prompt"),
        ("#/jobs/1/pairs/3", "Copy the tokens of the clean prompt"),
        ("#/jobs/1", "Copy the weights hash"),
        ("#/workers", "Copy this command"),
    ):
        visitor.open(view)
        expect(visitor.page.get_by_role("button", name=what, exact=True)).to_have_count(1)


def test_back_gives_the_place_and_the_focus_again(visit: Visit) -> None:
    """From a component to the list that it was opened from, and once more after a reload."""
    visitor = visit()
    page = visitor.page
    visitor.open("#/jobs/1/components")
    link = page.locator("tbody tr").nth(80).get_by_role("link")
    name = link.inner_text()
    link.scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    assert before > 500
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_have_text(name)
    assert page.evaluate("scrollY") == 0
    expect(page.locator("#main")).to_be_focused()
    page.go_back()
    expect(link).to_be_focused()
    page.wait_for_function(f"Math.abs(scrollY - {before}) < 2")
    page.go_forward()
    expect(page.get_by_role("heading", level=2)).to_have_text(name)
    page.reload()
    page.go_back()
    expect(link).to_be_focused()
    page.wait_for_function(f"Math.abs(scrollY - {before}) < 2")
    assert visitor.faults == []


def test_back_gives_the_marked_cell_again(visit: Visit) -> None:
    """Whoever walks over a heatmap goes on where they were."""
    visitor = visit()
    page = visitor.page
    visitor.open("#/jobs/1/heads?site=z")
    grid = page.get_by_role("application")
    grid.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"):
        grid.press(key)
    said = page.locator(".grid [aria-live]")
    expect(said).not_to_be_empty()
    before = said.inner_text()
    grid.press("Enter")
    visitor.arrive("components/")
    page.go_back()
    expect(grid).to_be_focused()
    expect(said).to_have_text(before)


def test_a_list_that_was_opened_is_open_again(visit: Visit) -> None:
    """A table shown whole stays so."""
    visitor = visit()
    page = visitor.page
    visitor.open("#/jobs/1/pairs/3?site=z")
    page.get_by_role("button", name="Show all").click()
    rows = page.get_by_role("table", name="Exact effects of this pair").locator("tbody tr")
    shown = rows.count()
    assert shown > 25
    rows.last.get_by_role("link").click()
    visitor.arrive("components/")
    page.go_back()
    expect(rows).to_have_count(shown)
    expect(rows.last.get_by_role("link")).to_be_focused()


def test_a_running_job_without_workers_says_so(visit: Visit, tmp_path: Path) -> None:
    """With the command that starts one; not while something measures it."""
    database = tmp_path / "jobs.db"
    with Database.open(f"sqlite:///{database}") as opened:
        job = submit_job(opened, 10)
        assert run_chunk(opened, job)
    with page_at(database) as address:
        visitor = visit(address)
        visitor.open("#/jobs/1")
        expect(visitor.page.locator(".head .state").first).to_have_text("running")
        visitor.see("No worker serves this model")
        visitor.see("patchgrid worker start --model a/model")
        assert visitor.inaccessible() == []
        for view in ("#/jobs", "#/workers", "#/jobs/1", "#/jobs/1/pairs"):
            visitor.open(view)
            assert "waiting" not in visitor.page.locator("main").inner_text()
