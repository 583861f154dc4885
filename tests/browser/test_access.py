"""Signing in, and what a token's scope leaves out."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.conftest import Visit
from support.browser.servers import page_at
from support.cli.commands import patchgrid

pytestmark = pytest.mark.browser


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Return a server that requires tokens, and a token of each scope."""
    database = tmp_path / "jobs.db"
    made = {
        scope: patchgrid("token", "create", scope, "--scope", scope, "--db", database).stdout.strip()
        for scope in ("read", "submit")
    }
    with page_at(database) as address:
        yield address, made


def test_a_reader_signs_in_and_out(visit: Visit, guarded: tuple[str, dict[str, str]], pictures: Path) -> None:
    """A wrong token is refused in words, a right one shows its name; reading alone offers no form."""
    address, tokens = guarded
    visitor = visit(address)
    page = visitor.page
    visitor.open("#/jobs")
    expect(visitor.heading()).to_have_text("Sign in")
    assert visitor.inaccessible() == []
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    visitor.shoot(pictures / "sign-in.png")
    page.get_by_label("Token").fill(tokens["read"])
    page.get_by_role("button", name="Sign in").click()
    expect(visitor.heading()).to_have_text("Jobs")
    visitor.see("read")
    visitor.shoot(pictures / "signed-in.png")
    links = page.get_by_role("navigation", name="Main").get_by_role("link")
    assert links.all_inner_texts() == ["Jobs", "Workers"]
    page.get_by_role("button", name="Sign out").click()
    expect(visitor.heading()).to_have_text("Sign in")


def test_a_submitter_is_offered_the_form(visit: Visit, guarded: tuple[str, dict[str, str]]) -> None:
    """And the address that was asked for is where signing in leads."""
    address, tokens = guarded
    visitor = visit(address)
    visitor.open("#/submit")
    visitor.page.get_by_label("Token").fill(tokens["submit"])
    visitor.page.get_by_role("button", name="Sign in").click()
    expect(visitor.heading()).to_have_text("Submit a job")
