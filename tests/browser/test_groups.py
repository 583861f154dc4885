"""Results by group of pairs, on the page."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from browser.conftest import EXAMPLES, Visit
from support.browser.servers import page_at
from support.cli.commands import patchgrid
from support.engine.models import DEMO_MODEL

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a job whose pairs are of three groups."""
    folder = tmp_path_factory.mktemp("groups")
    rows = (EXAMPLES / "ioi.jsonl").read_text("utf-8").splitlines()[:36]
    named = [json.loads(row) | {"group": f"kind {number % 3}"} for number, row in enumerate(rows)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    command = ("run", folder / "pairs.jsonl", "-m", DEMO_MODEL, "--exact", 1, "--db", folder / "jobs.db")
    assert patchgrid(*command).exit_code == 0
    with page_at(folder / "jobs.db") as address:
        yield address


def test_components_that_differ_are_listed_and_a_component_has_its_groups(visit: Visit, grouped: str) -> None:
    """The intervals' line says of how many groups the pairs are."""
    visitor = visit(grouped)
    visitor.open("#/jobs/1/components")
    visitor.see("for the population that these pairs, in 3 groups, are a sample of")
    found = visitor.get("v1/jobs/1/groups?limit=100").json()
    rows = visitor.page.get_by_role("table", name="Components by group").locator("tbody tr")
    first = found["items"][0]
    expect(rows.first).to_contain_text(first["component"])
    rows.first.get_by_role("link").click()
    own = visitor.page.get_by_role("table", name=f"Groups of {first['component']}").locator("tbody tr")
    expect(own).to_have_count(3)
    expect(own.nth(2)).to_contain_text("kind 2")
    assert visitor.faults == []
