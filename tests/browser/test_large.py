"""Jobs of more components and cells than are fetched at once: nothing is cut in silence."""

import functools
import re
from collections.abc import Sequence

import pytest
from playwright.sync_api import expect

from browser.answers import Pages, Row, cell, component, neurons
from browser.conftest import Visit
from browser.visitor import NONE

pytestmark = pytest.mark.browser

COMPONENTS = "v1/jobs/1/components"
EXACT = "v1/jobs/1/exact"
#: As many neurons as GPT-2 small has.
MANY = 36_864


@functools.cache
def _ordered(by: str) -> list[Row]:
    return sorted(neurons(MANY), key=lambda row: -abs(row[by]))


def _ranked(asked: dict[str, str]) -> Sequence[Row]:
    return _ordered(asked.get("by", "estimate"))


def test_what_is_shown_of_a_large_job_is_said(visit: Visit) -> None:
    """The largest by estimate, with where all are to be had."""
    visitor = visit()
    pages = Pages(visitor.page, COMPONENTS, _ranked)
    visitor.open("#/jobs/1/components?site=mlp_post")
    visitor.see("Shown are the 5,000 largest by |estimate|")
    assert len(pages.asked) == 1
    link = visitor.page.get_by_role("link", name="all of them as CSV").get_attribute("href")
    answer = visitor.get(str(link))
    assert answer.status == 200
    assert len(answer.text().splitlines()) > 2000


def test_a_search_finds_a_weak_component(visit: Visit) -> None:
    """However far down it ranks."""
    visitor = visit()
    Pages(visitor.page, COMPONENTS, _ranked)
    visitor.open(f"#/jobs/1/components?site=mlp_post&search=m0.n{MANY - 1}")
    expect(visitor.page.locator("tbody tr")).to_have_count(1)
    expect(visitor.page.locator("tbody th")).to_have_text(f"m0.n{MANY - 1}")
    visitor.see("1 of 36,864 components")


def test_an_order_of_the_servers_is_asked_of_it(visit: Visit) -> None:
    """The largest mean scores are not among the largest estimates."""
    visitor = visit()
    pages = Pages(visitor.page, COMPONENTS, _ranked)
    visitor.open("#/jobs/1/components?site=mlp_post&sort=mean")
    visitor.see("the 5,000 largest by |mean score|")
    expect(visitor.page.locator("tbody th").first).to_have_text(f"m0.n{MANY - 1}")
    assert pages.asked[-1]["by"] == "mean"


def test_another_order_is_made_of_all(visit: Visit) -> None:
    """The largest std is that of the weakest."""
    visitor = visit()
    Pages(visitor.page, COMPONENTS, _ranked)
    visitor.open("#/jobs/1/components?site=mlp_post&sort=std")
    expect(visitor.page.locator("tbody th").first).to_have_text(f"m0.n{MANY - 1}")
    visitor.see("36,864 components")


def test_what_was_not_looked_through_is_said(visit: Visit) -> None:
    """Of a job larger still."""
    visitor = visit()
    rows = neurons(60_000)
    Pages(visitor.page, COMPONENTS, lambda _: rows)
    visitor.open("#/jobs/1/components?site=mlp_post&search=m0.n59999")
    visitor.see("0 among the 50,000 largest by |estimate|")
    visitor.see("No component looked through is named so.")


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
    """Though its row stands behind many others."""
    visitor = visit()
    Pages(visitor.page, COMPONENTS, _ranked)
    visitor.open(f"#/jobs/1/components/m0.n{MANY - 1}?site=mlp_post")
    table = visitor.page.get_by_role("table", name=f"m0.n{MANY - 1} by method")
    expect(table.locator("tbody tr")).to_have_count(2)


def test_a_components_cells_are_looked_for_until_they_are_all_there(visit: Visit) -> None:
    """Its row says how many they are."""
    visitor = visit()
    rows = [component("m0.n7", "mlp_post", 0.5, neuron=7, exact_n=4)]
    cells = [cell(pair, 7 if pair % 15_000 == 0 else 8, 0.1) for pair in range(90_000)]
    Pages(visitor.page, COMPONENTS, lambda _: rows)
    pages = Pages(visitor.page, EXACT, lambda _: cells)
    visitor.open("#/jobs/1/components/m0.n7?site=mlp_post")
    visitor.see("4 cells, the largest effect first")
    assert len(pages.asked) == 3


def test_cells_that_were_not_reached_are_said_and_can_be_looked_for(visit: Visit) -> None:
    """So many of so many."""
    visitor = visit()
    rows = [component("m0.n7", "mlp_post", 0.5, neuron=7, exact_n=2)]
    cells = [cell(pair, 7 if pair in (5, 130_000) else 8, 0.1) for pair in range(140_000)]
    Pages(visitor.page, COMPONENTS, lambda _: rows)
    Pages(visitor.page, EXACT, lambda _: cells)
    visitor.open("#/jobs/1/components/m0.n7?site=mlp_post")
    visitor.see("1 of 2 cells")
    visitor.see("the first 100,000 cells of mlp_post")
    visitor.page.get_by_role("button", name="Look on").click()
    visitor.see("2 cells, the largest effect first")
    expect(visitor.page.get_by_role("button", name="Look on")).to_have_count(0)


def test_cells_that_are_not_drawn_are_said(visit: Visit) -> None:
    """The furthest off is one of those that are drawn, and the page does not claim more."""
    visitor = visit()
    cells = [cell(pair, pair % 50, 0.001 * (pair % 997)) for pair in range(25_000)]
    Pages(visitor.page, EXACT, lambda _: cells)
    visitor.open("#/jobs/1/agreement?site=mlp_post")
    note = visitor.page.locator(".note")
    expect(note).to_have_text(re.compile(r"Drawn and listed are 20,000 of 965 cells"))
    assert visitor.faults == []
