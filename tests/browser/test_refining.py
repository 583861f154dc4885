"""Patching more exactly from the page: the form, a certificate while it runs and afterwards."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.conftest import EXAMPLES, Visit
from patchgrid.core.refinement import Refinement
from patchgrid.storage import Database
from patchgrid.storage.rounds.requests import refine
from support.browser.servers import page_at, working
from support.cli.commands import patchgrid
from support.engine.models import DEMO_MODEL

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with a finished job of 200 pairs."""
    database = tmp_path_factory.mktemp("refining") / "jobs.db"
    options = ("--limit", 200, "--exact", 0.02, "--db", database)
    assert patchgrid("run", EXAMPLES / "ioi.jsonl", "-m", DEMO_MODEL, *options).exit_code == 0
    return database


@pytest.fixture
def database(measured: Path, tmp_path: Path) -> Path:
    """Return a copy of that database."""
    shutil.copy(measured, tmp_path / "jobs.db")
    return tmp_path / "jobs.db"


@pytest.fixture
def address(database: Path) -> Iterator[str]:
    """Return the address of a server on it."""
    with page_at(database) as found:
        yield found


def test_a_certificate_is_asked_for_and_shown(visit: Visit, address: str, database: Path) -> None:
    """A worker patches; the page follows it to its end, without being loaded again."""
    visitor = visit(address)
    visitor.open("#/jobs/1")
    page = visitor.page
    page.get_by_text("Patch more exactly").click()
    page.get_by_label("Largest components").fill("4")
    page.get_by_label("Most cells, %").fill("60")
    assert visitor.inaccessible() == []
    with working(database):
        page.get_by_role("button", name="Patch", exact=True).click()
        visitor.see("No other component is above")
    rows = page.get_by_role("region", name="Certificate of the top 4").locator("tbody tr")
    expect(rows.first.locator("th")).to_have_text("a0.h3")
    states = page.locator("span.race.in").all_inner_texts()
    assert 0 < len(states) <= 4
    assert page.locator("svg.race").count() == rows.count()
    assert visitor.inaccessible() == []


def test_the_boundary_is_shown_while_a_certificate_runs(visit: Visit, address: str, database: Path) -> None:
    """Components around the k-th, and the round; nobody works on it."""
    with Database.open(f"sqlite:///{database}") as opened, opened.write() as session:
        refine(session, 1, Refinement(certify=5, max_exact=1))
    visitor = visit(address)
    visitor.open("#/jobs/1")
    visitor.see("pairs done in round 1")
    visitor.see("certificate of the top 5 by |mean effect|: running")
    region = visitor.page.get_by_role("region", name="Components around the boundary")
    expect(region.locator("tbody tr")).to_have_count(13)
    expect(visitor.page.get_by_text("Patch more exactly")).to_have_count(0)
    assert visitor.inaccessible() == []


def test_what_cannot_be_patched_is_said_in_the_form(visit: Visit, address: str) -> None:
    """In the server's words; the form stays as it was."""
    visitor = visit(address)
    visitor.open("#/jobs/1")
    page = visitor.page
    page.get_by_text("Patch more exactly").click()
    page.get_by_label("Patch", exact=True).select_option("components")
    page.get_by_label("Names").fill("a1.h55")
    page.get_by_role("button", name="Patch", exact=True).click()
    visitor.see("did you mean 'a1.h5'?")
    expect(page.get_by_label("Names")).to_have_value("a1.h55")
