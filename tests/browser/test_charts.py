"""Scatters and bars by keys and pointer, as heatmaps are; and what charts say of themselves."""

import re

import pytest
from playwright.sync_api import Locator, expect

from browser.conftest import Visit
from support.browser.visitor import Visitor, number

pytestmark = pytest.mark.browser

PIXELS = "each => each.querySelector('canvas').toDataURL()"


def _said(visitor: Visitor) -> str:
    said = visitor.page.locator(".grid [aria-live]").first
    expect(said).not_to_be_empty()
    return said.inner_text()


def _number(words: str, name: str) -> float:
    found = re.search(rf"{name} ([^ ,]+)", words)
    assert found is not None, words
    return number(found[1])


def _walk(visitor: Visitor, chart: Locator, key: str, steps: int) -> list[str]:
    heard = []
    for _ in range(steps):
        chart.press(key)
        heard.append(_said(visitor))
    return heard


def test_points_are_walked_by_score_and_by_effect(visit: Visit) -> None:
    """Left and right by score, up and down by effect, to the ends by Home and End; the marked one is seen."""
    visitor = visit()
    visitor.open("#/jobs/1/agreement?site=z")
    chart = visitor.page.get_by_role("application")
    unmarked = chart.evaluate(PIXELS)
    chart.press("Home")
    scores = [_number(words, "score") for words in (_said(visitor), *_walk(visitor, chart, "ArrowRight", 5))]
    assert scores == sorted(scores)
    effects = [_number(words, "exact effect") for words in _walk(visitor, chart, "ArrowUp", 5)]
    assert effects == sorted(effects)
    chart.press("End")
    largest = _said(visitor)
    assert _number(largest, "score") > max(scores)
    chart.press("ArrowRight")
    assert _said(visitor) == largest
    expect(visitor.page.locator(".tip")).to_contain_text("exact effect")
    assert chart.evaluate(PIXELS) != unmarked
    assert visitor.faults == []


def test_a_point_opens_its_component_by_enter_and_by_click(visit: Visit) -> None:
    """The same one that was said."""
    visitor = visit()
    visitor.open("#/jobs/1/agreement?site=z")
    chart = visitor.page.get_by_role("application")
    chart.press("End")
    name = _said(visitor).split(",")[0]
    chart.press("Enter")
    visitor.arrive(rf"#/jobs/1/components/{re.escape(name)}\?site=z")
    expect(visitor.page.get_by_role("heading", level=2)).to_have_text(name)
    visitor.open("#/jobs/1/agreement?site=z")
    # The hint of a marked point stands beside it: that is where to click.
    visitor.page.get_by_role("application").press("End")
    tip = visitor.page.locator(".tip").bounding_box()
    assert tip is not None
    visitor.page.mouse.click(tip["x"] - 14, tip["y"] - 10)
    visitor.arrive(rf"#/jobs/1/components/{re.escape(name)}\?site=z")


def test_a_components_points_open_their_pairs(visit: Visit) -> None:
    """A cell of a component is known by its pair."""
    visitor = visit()
    visitor.open("#/jobs/1/components/a1.h2?site=z")
    chart = visitor.page.get_by_role("application")
    chart.press("Home")
    pair = _said(visitor).split(",")[0].removeprefix("pair ")
    chart.press("Enter")
    visitor.arrive(rf"#/jobs/1/pairs\?name={re.escape(pair)}&site=z")
    expect(visitor.page.locator("tbody tr")).to_have_count(1)


@pytest.mark.parametrize(
    ("view", "site"), [("#/jobs/1/heads?site=mlp_post", "mlp_post"), ("#/jobs/2/heads", "edge")]
)
def test_bars_are_walked_from_the_strongest_on(visit: Visit, view: str, site: str) -> None:
    """In the order of the API's answer; Enter opens the one that was said."""
    visitor = visit()
    visitor.open(view)
    job = view.split("/")[2]
    answer = visitor.get(f"v1/jobs/{job}/components?site={site}&by=estimate&limit=30").json()
    names = [row["component"] for row in answer["items"]]
    chart = visitor.page.get_by_role("application")
    unmarked = chart.evaluate(PIXELS)
    visitor.page.locator(".panel .links a").last.focus()
    visitor.page.keyboard.press("Tab")
    heard = [_said(visitor), *_walk(visitor, chart, "ArrowDown", 3), *_walk(visitor, chart, "End", 1)]
    assert [words.split(": ")[0] for words in heard] == [*names[:4], names[-1]]
    assert "95 % interval" in heard[0]
    assert chart.evaluate(PIXELS) != unmarked
    chart.press("Home")
    chart.press("Enter")
    expect(visitor.page.get_by_role("heading", level=2)).to_have_text(names[0])
    assert visitor.faults == []


@pytest.mark.parametrize("view", ["#/jobs/1/heads", "#/jobs/1/agreement?site=z", "#/jobs/1/pairs/3?site=z"])
def test_every_chart_is_one_tab_stop(visit: Visit, view: str) -> None:
    """With a label that says what its keys do, and a place where it says what is marked."""
    visitor = visit()
    visitor.open(view)
    charts = visitor.page.locator("canvas").count()
    assert charts > 0
    assert visitor.page.locator(".canvas[tabindex='0'][role='application']").count() == charts
    assert visitor.page.locator(".grid > [aria-live='polite']").count() == charts
    for label in visitor.page.get_by_role("application").all():
        assert "rrow keys move from" in str(label.get_attribute("aria-label"))


def test_small_values_can_be_brought_out(visit: Visit) -> None:
    """One head of the demo model is ten times as strong as all others: the choice stands in the address."""
    visitor = visit()
    visitor.open("#/jobs/1/heads?site=z")
    coloured = """canvas => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let found = 0;
      for (let at = 0; at < data.length; at += 4) found += Math.abs(data[at] - data[at + 2]) > 40;
      return found;
    }"""
    linear = visitor.page.locator("canvas").evaluate(coloured)
    visitor.page.get_by_label("Log colour scale").check()
    visitor.arrive("colours=log")
    visitor.open("#" + visitor.page.url.split("#")[1])
    assert visitor.page.get_by_label("Log colour scale").is_checked()
    assert visitor.page.locator("canvas").evaluate(coloured) > 2 * linear
    assert visitor.faults == []


def test_a_job_of_edges_is_not_offered_what_is_for_cells(visit: Visit) -> None:
    """It has bars alone: no colours to choose, no dots to explain."""
    visitor = visit()
    visitor.open("#/jobs/2/heads")
    expect(visitor.page.get_by_label("Log colour scale")).to_have_count(0)
    expect(visitor.page.get_by_text("A dot marks")).to_have_count(0)
    visitor.open("#/jobs/1/heads")
    visitor.see("A dot marks")


def test_a_heatmap_fits_a_phone_with_its_legend(visit: Visit) -> None:
    """Eight heads and the colours' meaning in sight at once, without scrolling sideways."""
    visitor = visit(width=390)
    visitor.open("#/jobs/1/heads?site=z")
    script = "each => each.scrollWidth - each.clientWidth"
    assert visitor.page.locator(".canvas").evaluate(script) <= 0
    box = visitor.page.locator("canvas").bounding_box()
    assert box is not None
    assert box["width"] > 250
    visitor.see("In units of logit difference")
