"""Jobs of more components and cells than are fetched at once: nothing is cut in silence."""

import functools
import re
from collections.abc import Sequence

import pytest
from playwright.sync_api import expect

from browser.conftest import Visit
from support.browser.answers import Pages, Row, cell, component, neurons
from support.browser.visitor import NONE

pytestmark = pytest.mark.browser

COMPONENTS = "v1/jobs/1/components"
EXACT = "v1/jobs/1/exact"
#: As many neurons as GPT-2 small has.
MANY = 36_864


@functools.cache
def _ordered(by: str) -> list[Row]:
    return sorted(neurons(MANY), key=lambda row: -abs(row[by]))


def _asked_for(asked: dict[str, str]) -> Sequence[Row]:
    """Return the server's response."""
    rows = _ordered(asked.get("by", "estimate"))
    if "component" in asked:
        return [row for row in rows if row["component"] == asked["component"]]
    rows = [row for row in rows if asked.get("search", "").lower() in row["component"]]
    return rows[::-1] if asked.get("order") == "up" else rows


def test_what_is_shown_of_a_large_job_is_said(visit: Visit) -> None:
    """The largest by estimate, a page of them, with where all are to be had."""
    visitor = visit()
    pages = Pages(visitor.page, COMPONENTS, _asked_for)
    visitor.open("#/jobs/1/components?site=mlp_post")
    visitor.see("1 to 100 of 36,864 components; 960 of 48,000 cells (2 %) patched exactly")
    visitor.see("; JSON and CSV have the first 10,000")
    expect(visitor.page.locator("tbody tr")).to_have_count(100)
    assert [(each["by"], each["limit"]) for each in pages.asked] == [("estimate", "100")]
    link = visitor.page.get_by_role("link", name="all of them as CSV").get_attribute("href")
    answer = visitor.get(str(link))
    assert answer.status == 200
    assert len(answer.text().splitlines()) > 2000


def test_a_search_is_the_servers(visit: Visit) -> None:
    """However far down a component ranks; how many it was found among is said."""
    visitor = visit()
    pages = Pages(visitor.page, COMPONENTS, _asked_for)
    visitor.open(f"#/jobs/1/components?site=mlp_post&search=N0.{MANY - 1}")
    expect(visitor.page.locator("tbody tr")).to_have_count(1)
    expect(visitor.page.locator("tbody th")).to_have_text(f"n0.{MANY - 1}")
    visitor.see("1 of 36,864 components")
    assert {each["limit"] for each in pages.asked} == {"1", "100"}
    visitor.page.get_by_label("Name").fill("n0.1")
    visitor.see("1 to 100 of 11,111 found, of 36,864 components")
    visitor.page.get_by_label("Name").fill("nothing")
    visitor.see("0 of 36,864 components")
    visitor.see("No component matches.")


@pytest.mark.parametrize(("by", "title"), [("mean", "mean score"), ("std", "std")])
def test_an_order_is_the_servers(visit: Visit, by: str, title: str) -> None:
    """Either way; the button that was pressed stays where it is, and the focus on it."""
    visitor = visit()
    pages = Pages(visitor.page, COMPONENTS, _asked_for)
    visitor.open("#/jobs/1/components?site=mlp_post")
    button = visitor.page.get_by_role("columnheader").get_by_role(
        "button", name="mean score" if by == "mean" else by
    )
    for first, order in ((MANY - 1, None), (0, "up")):
        button.click()
        visitor.settle()
        expect(visitor.page.locator("tbody th").first).to_have_text(f"n0.{first}")
        expect(button).to_be_focused()
        assert (pages.asked[-1]["by"], pages.asked[-1].get("order")) == (by, order)
    assert {each["limit"] for each in pages.asked} == {"100"}


def test_pages_of_components_say_where_they_are(visit: Visit) -> None:
    """There and back; another order begins anew."""
    visitor = visit()
    Pages(visitor.page, COMPONENTS, _asked_for)
    visitor.open("#/jobs/1/components?site=mlp_post")
    visitor.page.get_by_role("button", name="Next page").click()
    visitor.see("101 to 200 of 36,864")
    visitor.settle()
    expect(visitor.page.locator("tbody th").first).to_have_text("n0.100")
    visitor.page.get_by_role("button", name="Next page").click()
    visitor.see("201 to 300 of 36,864")
    visitor.page.get_by_role("button", name="Back").click()
    visitor.see("101 to 200 of 36,864")
    visitor.page.get_by_role("button", name="std").click()
    visitor.see("1 to 100 of 36,864")


def test_components_of_a_real_job_are_sorted_by_their_place(visit: Visit) -> None:
    """By name is by site, layer and number, as the server lists them; both ways."""
    visitor = visit()
    visitor.open("#/jobs/1/components?site=mlp_post&sort=component&order=up")
    names = visitor.page.locator("tbody th").all_inner_texts()
    assert names == [f"n0.{index}" for index in range(100)]
    visitor.page.get_by_role("columnheader").get_by_role("button", name="component").click()
    visitor.settle()
    assert visitor.page.locator("tbody th").first.inner_text().startswith("n3.")


def test_every_head_of_a_large_model_is_drawn(visit: Visit) -> None:
    """All layers of it, to the last."""
    heads = [
        component(f"a{layer}.h{head}", "z", 0.5, layer=layer, head=head)
        for layer in range(90)
        for head in range(64)
    ]
    visitor = visit()
    Pages(visitor.page, COMPONENTS, lambda _: heads)
    visitor.open("#/jobs/1/heads?site=z")
    visitor.page.get_by_text("As a table").click()
    rows = visitor.page.locator("details tbody tr")
    expect(rows).to_have_count(90)
    assert NONE not in rows.last.inner_text()
    assert visitor.overflow() <= 0


def test_a_weak_component_has_a_page(visit: Visit) -> None:
    """It is asked for by its name, and nothing else is."""
    visitor = visit()
    name = f"n0.{MANY - 1}"
    pages = Pages(visitor.page, COMPONENTS, _asked_for)
    visitor.open(f"#/jobs/1/components/{name}?site=mlp_post")
    table = visitor.page.get_by_role("table", name=f"{name} by method")
    expect(table.locator("tbody tr")).to_have_count(3)
    asked = [(each["component"], each["site"], each["method"]) for each in pages.asked]
    assert sorted(asked) == [(name, "mlp_post", method) for method in ("atp", "combined", "relp")]


def _cells_of(asked: dict[str, str], count: int) -> Sequence[Row]:
    return [cell(pair, 7, 0.1) for pair in range(count)] if asked.get("component") == "n0.7" else []


def test_a_components_cells_are_asked_for_alone(visit: Visit) -> None:
    """Once: its row says how many they are."""
    visitor = visit()
    rows = [component("n0.7", "mlp_post", 0.5, unit=7, exact_n=4)]
    Pages(visitor.page, COMPONENTS, lambda _: rows)
    pages = Pages(visitor.page, EXACT, lambda asked: _cells_of(asked, 4))
    visitor.open("#/jobs/1/components/n0.7?site=mlp_post")
    visitor.see("4 cells, the largest effect first")
    assert len(pages.asked) == 1
    assert pages.asked[0].keys() <= {"component", "method", "limit"}


def test_cells_of_one_component_that_are_not_drawn_are_said(visit: Visit) -> None:
    """So many of so many."""
    visitor = visit()
    rows = [component("n0.7", "mlp_post", 0.5, unit=7, exact_n=25_000)]
    Pages(visitor.page, COMPONENTS, lambda _: rows)
    Pages(visitor.page, EXACT, lambda asked: _cells_of(asked, 25_000))
    visitor.open("#/jobs/1/components/n0.7?site=mlp_post")
    visitor.see("The first 20,000 of 25,000 cells by pair, the largest effect first; the export has all")


def test_a_component_of_a_real_job_has_all_its_cells(visit: Visit) -> None:
    """As many as its row says, and no other's."""
    visitor = visit()
    for name in ("a1.h2", "m2", "resid_post1"):
        [row] = visitor.get(f"v1/jobs/1/components?component={name}").json()["items"]
        assert row["exact_n"] > 0
        visitor.open(f"#/jobs/1/components/{name}")
        visitor.see(f"{row['exact_n']} cells, the largest effect first")
    visitor.open("#/jobs/1/components/a1.h99")
    visitor.see("This job has no results for this component.")
    assert visitor.faults == []


def test_cells_that_are_not_drawn_are_said(visit: Visit) -> None:
    """The furthest off is one of those that are drawn, and the page does not claim more."""
    visitor = visit()
    cells = [cell(pair, pair % 50, 0.001 * (pair % 997)) for pair in range(25_000)]
    Pages(visitor.page, EXACT, lambda _: cells)
    visitor.open("#/jobs/1/agreement?site=mlp_post")
    note = visitor.page.locator(".note")
    expect(note).to_have_text(re.compile(r"Showing 20,000 of [0-9,]+ cells"))
    assert visitor.faults == []
