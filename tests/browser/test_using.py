"""What people do on the page: choosing, sorting, walking over a heatmap."""

import re

import pytest
from playwright.sync_api import expect

from browser.conftest import Visit
from support.browser.visitor import Visitor

pytestmark = pytest.mark.browser


def _cells(visitor: Visitor, column: int) -> list[str]:
    return [row.locator("th, td").nth(column).inner_text() for row in visitor.page.locator("tbody tr").all()]


def test_a_heatmap_is_walked_by_keys_and_a_cell_opened(visit: Visit) -> None:
    """What is marked is said; Enter goes to the component."""
    visitor = visit()
    visitor.open("#/jobs/1/heads?site=z")
    grid = visitor.page.get_by_role("application")
    grid.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        grid.press(key)
    said = visitor.page.locator(".grid [aria-live]")
    expect(said).to_contain_text("a1.h")
    name = said.inner_text().split(":")[0]
    assert "95 % interval" in said.inner_text()
    grid.press("Enter")
    visitor.arrive(rf"#/jobs/1/components/{re.escape(name)}\?site=z")
    expect(visitor.page.get_by_role("heading", level=2)).to_contain_text(name)
    assert visitor.faults == []


def test_a_heatmap_answers_the_pointer(visit: Visit) -> None:
    """Hovering tells of a cell, clicking opens it."""
    visitor = visit()
    visitor.open("#/jobs/1/heads?site=z")
    visitor.page.locator("canvas").hover(position={"x": 75, "y": 60})
    expect(visitor.page.locator(".tip")).to_contain_text("patched exactly")
    visitor.page.locator("canvas").click(position={"x": 75, "y": 60})
    visitor.arrive(r"components/a\d\.h\d\?site=z")


def test_a_heatmap_is_a_table_too(visit: Visit) -> None:
    """With a row a layer and a column a head."""
    visitor = visit()
    visitor.open("#/jobs/1/heads?site=z")
    visitor.page.get_by_text("As a table").click()
    table = visitor.page.locator("details table")
    expect(table.locator("tbody tr")).to_have_count(4)
    expect(table.locator("tbody tr").first.locator("td")).to_have_count(8)


def test_components_are_sorted_and_filtered_by_address(visit: Visit) -> None:
    """A view can be shared: all choices stand in its address."""
    visitor = visit()
    visitor.open("#/jobs/1/components?site=z")
    visitor.page.get_by_role("button", name="std").click()
    visitor.arrive("sort=std")
    heads = visitor.page.locator("thead th").all_inner_texts()
    column = next(index for index, head in enumerate(heads) if head.startswith("std"))
    values = [float(text) for text in _cells(visitor, column)]
    assert values == sorted(values, reverse=True)
    visitor.page.get_by_label("Name").fill("a2.")
    visitor.arrive("search=a2")
    shared = visit()
    shared.open("#" + visitor.page.url.split("#")[1])
    assert _cells(shared, 0) == _cells(visitor, 0)
    assert len(_cells(shared, 0)) == 8


def test_a_refusal_of_one_field_is_said_in_its_words(visit: Visit) -> None:
    """An address may ask for what a job does not have: no table is needed to say so."""
    visitor = visit()
    visitor.open("#/jobs/1/components?site=zz")
    said = visitor.page.get_by_role("alert")
    expect(said).to_contain_text("unknown site of this job 'zz'")
    expect(said.locator("table")).to_have_count(0)


def test_the_method_goes_with_the_reader(visit: Visit) -> None:
    """From the heatmap to the scatter."""
    visitor = visit()
    visitor.open("#/jobs/1/heads?site=z")
    visitor.page.get_by_label("Method").select_option("relp")
    visitor.page.get_by_role("link", name="Score vs exact").click()
    expect(visitor.page.get_by_role("heading", level=2).first).to_contain_text("z by relp")


def test_tokens_are_coloured_and_differences_marked(visit: Visit) -> None:
    """One token of the prompts differs; the last position carries scores of heads."""
    visitor = visit()
    visitor.open("#/jobs/1/pairs/3?site=z")
    clean = visitor.page.get_by_role("list", name="Clean prompt").locator("li")
    assert clean.locator("xpath=self::*[@class='differs']").count() == 1
    grounds = [token.evaluate("each => getComputedStyle(each).backgroundColor") for token in clean.all()]
    assert len(set(grounds)) > 1


def test_failed_pairs_come_with_their_reason(visit: Visit) -> None:
    """From the list of jobs, by one link."""
    visitor = visit()
    visitor.open("#/jobs")
    visitor.page.get_by_role("row", name="onerror").get_by_role("link", name="1", exact=True).click()
    visitor.see("the prompts differ in length")


def test_colours_are_remembered(visit: Visit) -> None:
    """The reader's choice outlives the page, whatever the system's is."""
    visitor = visit(scheme="light")
    visitor.open("#/jobs")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = visitor.page.evaluate(ground)
    visitor.page.get_by_label("Colours").select_option("dark")
    dark = visitor.page.evaluate(ground)
    assert dark != light
    visitor.page.reload()
    visitor.settle()
    assert visitor.page.evaluate(ground) == dark


def test_a_failed_pair_shows_why_and_no_empty_results(visit: Visit) -> None:
    """It has neither components nor effects."""
    visitor = visit()
    visitor.open("#/jobs/3/pairs/5")
    visitor.see("the prompts differ in length")
    expect(visitor.page.get_by_role("heading", name="Strongest components")).to_have_count(0)
    visitor.open("#/jobs/3/pairs/0")
    expect(visitor.page.get_by_role("heading", name="Strongest components")).to_have_count(1)


def test_a_job_says_in_words_how_much_was_patched(visit: Visit) -> None:
    """A share as a percentage, methods as a list."""
    visitor = visit()
    visitor.open("#/jobs/1")
    spec = visitor.page.locator(".facts").first
    expect(spec).to_contain_text("10 % of cells, at least 30 cells per component")
    expect(spec).to_contain_text("atp, relp")


def test_positions_from_the_end_have_a_minus_sign(visit: Visit) -> None:
    """In the table as in the chart."""
    visitor = visit()
    visitor.open("#/jobs/3/positions?site=z")
    visitor.page.get_by_text("As a table").click()
    heads = visitor.page.locator("details thead th").all_inner_texts()
    assert heads[-1] == "\N{MINUS SIGN}1"
    visitor.page.get_by_role("application").press("End")
    expect(visitor.page.locator(".grid [aria-live]")).to_contain_text("position \N{MINUS SIGN}")
