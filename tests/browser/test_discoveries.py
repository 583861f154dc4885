"""Simultaneous intervals and lists with few false discoveries, on the page."""

import pytest
from playwright.sync_api import expect

from browser.conftest import Visit

pytestmark = pytest.mark.browser


def test_a_list_of_effects_above_a_size_is_the_api_s(visit: Visit) -> None:
    """With what it claims below; a size that is no number asks for nothing."""
    visitor = visit()
    visitor.open("#/jobs/1/components?site=z")
    path = "v1/jobs/1/components?site=z&effect_above=0.5&by=estimate"
    expected = [row["component"] for row in visitor.get(path).json()["items"]]
    visitor.page.get_by_label("Effect above").fill("0.5")
    visitor.see("mean effect exceeds 0.500")
    rows = visitor.page.get_by_role("table", name="Components", exact=True).locator("tbody tr")
    expect(rows).to_have_count(len(expected))
    assert [row.strip() for row in rows.locator("th").all_inner_texts()] == expected
    visitor.page.get_by_label("Effect above").fill("much")
    expect(rows).not_to_have_count(len(expected))
    assert visitor.faults == []


def test_intervals_can_hold_all_at_once(visit: Visit) -> None:
    """They are wider, and the line above the table says what they are."""
    visitor = visit()
    visitor.open("#/jobs/1/components?site=z")
    low, wide = (
        visitor.get(f"v1/jobs/1/components?site=z&by=estimate&limit=1{more}").json()["items"][0]["ci_low"]
        for more in ("", "&simultaneous=true")
    )
    assert wide < low
    visitor.page.get_by_label("All at once").check()
    visitor.see("are a sample of, all at once")
    assert visitor.faults == []
