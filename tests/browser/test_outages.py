"""The server going away and coming back."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from browser.conftest import Visit
from support.browser.servers import page_at

pytestmark = pytest.mark.browser


def test_the_page_says_that_the_server_is_away_and_goes_on_by_itself(
    visit: Visit, database: Path, pictures: Path
) -> None:
    """What was on the screen stays there meanwhile."""
    with page_at(database) as address:
        visitor = visit(address)
        visitor.open("#/jobs")
        visitor.see("many")
    banner = visitor.page.locator(".banner")
    expect(banner).to_contain_text("Not connected")
    visitor.see("many")
    assert visitor.inaccessible() == []
    visitor.shoot(pictures / "away.png")
    with page_at(database, "--port", urlsplit(address).port or 0):
        expect(banner).to_have_count(0)
        visitor.page.get_by_role("navigation", name="Main").get_by_role("link", name="Workers").click()
        expect(visitor.heading()).to_have_text("Workers and queue")
        visitor.see("No worker is running.")
