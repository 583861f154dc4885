"""Whether the model does the task and what of it is rounding: first on every summary; the owners of a job."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from browser.conftest import EXAMPLES, Visit
from support.browser.servers import page_at
from support.browser.visitor import Visitor
from support.cli.commands import patchgrid
from support.engine.models import DEMO_MODEL

pytestmark = pytest.mark.browser

TASK = "prefers the correct answer in 50 % of 8 pairs"
SUMMARIES = ("", "/heads", "/positions", "/agreement", "/components")


@pytest.fixture(scope="module")
def swapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a server with bfloat16 jobs of eight pairs, every second pair with its answers swapped.

    `all` measures them all, `right` those that the model gets right.
    """
    folder = tmp_path_factory.mktemp("task")
    records = [json.loads(line) for line in (EXAMPLES / "ioi.jsonl").read_text("utf-8").splitlines()[:8]]
    for record in records[1::2]:
        record["correct"], record["incorrect"] = record["incorrect"], record["correct"]
    pairs, database = folder / "pairs.jsonl", folder / "jobs.db"
    pairs.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    options = ("-m", DEMO_MODEL, "--db", database, "--sites", "z", "--exact", 1, "--dtype", "bfloat16")
    for name, more in (("all", ("--positions", "keep")), ("right", ("--only-correct",))):
        result = patchgrid("run", pairs, *options, "--name", name, *more)
        assert result.exit_code == 0, result.stderr
    with page_at(database) as address:
        yield address


def _first(visitor: Visitor) -> str:
    """Return the first text below the tabs."""
    return visitor.page.locator("nav.tabs + *").inner_text()


def test_every_summary_says_first_whether_the_model_does_the_task(visit: Visit, swapped: str) -> None:
    """With its warnings and the rounding floor of 16-bit numbers; the list of pairs says it of each."""
    visitor = visit(swapped)
    for view in SUMMARIES:
        visitor.open(f"#/jobs/1{view}")
        visitor.see("Rounding floor: ±")
        text = _first(visitor)
        assert text.startswith("Task: clean "), view
        assert TASK in text
        assert "Warning: the model does not do the task on these pairs" in text
        assert "logit_diff for one cell, measured on" in text
        assert visitor.inaccessible() == []
    visitor.open("#/jobs/1/pairs")
    expect(visitor.page.get_by_role("region", name="Task")).to_have_count(0)
    assert visitor.faults == []


def test_a_floor_that_does_not_matter_is_not_shown(visit: Visit) -> None:
    """In float32 it is millions of times smaller than the effects."""
    visitor = visit()
    with visitor.page.expect_response("**/v1/jobs/1/components?*"):
        visitor.open("#/jobs/1")
    rounding = visitor.get("v1/jobs/1/components?by=estimate&limit=10").json()["rounding"]
    assert 0 < rounding["floor"] < 1e-4
    visitor.see("prefers the correct answer")
    expect(visitor.page.get_by_text("Rounding floor")).to_have_count(0)


def test_effects_near_the_floor_are_warned_about(visit: Visit) -> None:
    """In the server's words."""
    visitor = visit()

    def near(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        found["rounding"] |= {"line": "Rounding floor: ±2", "warning": "the median effect shown is small"}
        route.fulfill(response=answer, json=found)

    visitor.page.route("**/v1/jobs/1/components?*", near)
    visitor.open("#/jobs/1")
    visitor.see("Warning: the median effect shown is small")
    assert "Rounding floor: ±2" in _first(visitor)


def test_skipped_pairs_are_counted_and_listed(visit: Visit, swapped: str) -> None:
    """From the summary by one link."""
    visitor = visit(swapped)
    visitor.open("#/jobs/2")
    tile = visitor.page.locator(".tile", has_text="skipped")
    expect(tile).to_contain_text("4")
    tile.get_by_role("link").click()
    visitor.settle()
    expect(visitor.page.locator("tbody tr")).to_have_count(4)


def test_only_correct_is_asked_for_in_the_form(visit: Visit, tmp_path: Path) -> None:
    """As is a file's own names of columns; the job says so."""
    record = json.loads((EXAMPLES / "ioi.jsonl").read_text("utf-8").splitlines()[0])
    names = {"clean": "prompt", "corrupted": "other", "correct": "good", "incorrect": "bad"}
    pairs = tmp_path / "named.jsonl"
    pairs.write_text(json.dumps({names[name]: record[name] for name in names}) + "\n", encoding="utf-8")
    with page_at(tmp_path / "jobs.db") as address:
        visitor = visit(address)
        visitor.open("#/submit")
        visitor.page.get_by_label("Pair file").set_input_files(pairs)
        visitor.page.get_by_text("More settings").click()
        visitor.page.get_by_label("Only correct").check()
        columns = ",".join(f"{field}={column}" for field, column in names.items())
        visitor.page.get_by_label("Columns").fill(columns)
        visitor.page.get_by_role("button", name="Submit").click()
        facts = visitor.page.locator(".facts").first
        expect(facts).to_contain_text("only correct")
        assert visitor.get("v1/jobs/1").json()["spec"]["only_correct"] is True
        assert visitor.faults == []


def test_a_components_own_positions_have_its_estimates(visit: Visit, swapped: str) -> None:
    """Where positions are kept, the whole of a component has none, and says where they are."""
    visitor = visit(swapped)
    visitor.open("#/jobs/1/components/a1.h5?site=z")
    whole = visitor.page.get_by_role("table", name="a1.h5 by method").locator("tbody tr")
    expect(whole).to_contain_text("by position, below")
    last = visitor.page.get_by_role("table", name="Positions of a1.h5").locator("tbody tr").last
    expect(last).to_contain_text("a1.h5@-1")
    expect(last).to_contain_text("± ")


def test_one_of_two_owners_withdraws_and_the_last_one_deletes(visit: Visit, tmp_path: Path) -> None:
    """A job that two submitted goes on for the other; nobody may stop it for both."""
    database = tmp_path / "jobs.db"
    tokens = [
        patchgrid("token", "create", name, "--scope", "submit", "--db", database).stdout.strip()
        for name in ("alice", "bob")
    ]
    with page_at(database) as address:
        alice, bob = (_signed_in(visit(address), token) for token in tokens)
        expect(bob.page.locator(".status")).to_contain_text("by alice, bob")
        expect(bob.page.get_by_role("button", name="Pause")).to_have_count(0)
        alice.page.reload()
        alice.page.get_by_role("button", name="Cancel…").click()
        assert alice.inaccessible() == []
        expect(alice.page.get_by_role("dialog")).to_contain_text("continues for its other owners: bob")
        alice.page.get_by_role("button", name="Withdraw from the job").click()
        alice.see("You withdrew; the job continues for bob")
        expect(alice.page.get_by_role("button", name="Cancel…")).to_have_count(0)
        alice.see("You withdrew; the job continues for bob")
        bob.open("#/jobs")
        expect(bob.page.locator("tbody tr td").last).to_have_text("bob")
        bob.open("#/jobs/1")
        expect(bob.page.get_by_role("button", name="Pause")).to_have_count(1)
        bob.page.get_by_role("button", name="Cancel…").click()
        bob.page.get_by_role("button", name="Cancel the job").click()
        bob.page.get_by_role("button", name="Delete…").click()
        bob.page.get_by_role("button", name="Delete the job").click()
        bob.see("No jobs yet.")
        assert bob.faults == []


def _signed_in(visitor: Visitor, token: str) -> Visitor:
    """Sign in and submit the pairs that the others submit, too."""
    visitor.open("#/submit")
    visitor.page.get_by_label("Token").fill(token)
    visitor.page.get_by_role("button", name="Sign in").click()
    visitor.page.get_by_label("Pair file").set_input_files(EXAMPLES / "ioi.jsonl")
    visitor.page.get_by_role("button", name="Submit").click()
    visitor.see("the job makes no progress")
    return visitor
