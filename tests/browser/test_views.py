"""Every view: it is drawn without complaint, accessible, fits the window, and its data can be had."""

from pathlib import Path

import pytest

from browser.conftest import HOSTILE, Visit

pytestmark = pytest.mark.browser

VIEWS = {
    "jobs": ("#/jobs", "Jobs"),
    "job": ("#/jobs/1", "many"),
    "heads": ("#/jobs/1/heads?method=relp", "many"),
    "edges": ("#/jobs/2/heads", "edges"),
    "positions": ("#/jobs/1/positions?site=z", "many"),
    "agreement": ("#/jobs/1/agreement?site=z&colour=layer", "many"),
    "components": ("#/jobs/1/components", "many"),
    "component": ("#/jobs/1/components/a1.h2?site=z", "many"),
    "neuron": ("#/jobs/1/components/n0.132?site=mlp_post", "many"),
    "unbounded": ("#/jobs/1/components?site=mlp_post&interval=pairs", "many"),
    "stretched": ("#/jobs/1/heads?colours=log", "many"),
    "pairs": ("#/jobs/1/pairs", "many"),
    "failed": ("#/jobs/3/pairs?state=failed", HOSTILE),
    "pair": ("#/jobs/1/pairs/3?site=z", "many"),
    "failed-pair": ("#/jobs/3/pairs/5", HOSTILE),
    "workers": ("#/workers", "Workers and queue"),
    "submit": ("#/submit", "Submit a job"),
    "missing": ("#/nowhere", "Page not found"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_view_is_drawn_without_a_fault(visit: Visit, pictures: Path, width: int, scheme: str) -> None:
    """No error in the console, no report of the policy, nothing serious by axe, no sideways scrolling."""
    visitor = visit(width=width, scheme=scheme)
    wrong = []
    for name, (view, heading) in VIEWS.items():
        visitor.open(view)
        if visitor.heading().inner_text() != heading:
            wrong.append(f"{name}: heading {visitor.heading().inner_text()!r}")
        visitor.shoot(pictures / f"{name}-{width}-{scheme}.png")
        wrong += [f"{name}: {fault}" for fault in (*visitor.inaccessible(), *visitor.faults)]
        if visitor.overflow() > 0:
            wrong.append(f"{name}: {visitor.overflow()} pixels too wide")
        visitor.faults.clear()
    assert wrong == []


def test_the_data_behind_every_view_can_be_had(visit: Visit) -> None:
    """Each view's links to JSON and CSV answer, and what they answer is that."""
    visitor = visit()
    seen = set()
    for view, _ in VIEWS.values():
        visitor.open(view)
        for link in visitor.data_links():
            if link in seen:
                continue
            seen.add(link)
            answer = visitor.get(link)
            assert answer.status == 200, link
            kind = "text/csv" if "format=csv" in link else "application/json"
            assert answer.headers["content-type"].startswith(kind), link
    assert len(seen) >= 30


def test_exports_can_be_had_from_a_job(visit: Visit) -> None:
    """In each format, by each method."""
    visitor = visit()
    visitor.open("#/jobs/1")
    assert visitor.page.locator(".exports a").count() == 3 * (3 * 2 + 1)
    visitor.open("#/jobs/3")
    links = visitor.page.locator(".exports a").all()
    assert len(links) == 3 * 4
    for link in links:
        assert visitor.get(str(link.get_attribute("href"))).status == 200


def test_what_the_api_refuses_is_said(visit: Visit) -> None:
    """In its words, with a way to try again."""
    visitor = visit()
    visitor.open("#/jobs/999/heads")
    alert = visitor.page.get_by_role("alert")
    assert "999" in alert.inner_text()
    assert alert.get_by_role("button", name="Retry").is_visible()


def test_hostile_names_and_prompts_stay_text(visit: Visit) -> None:
    """Nothing of them becomes an element."""
    visitor = visit()
    for view in ("#/jobs", "#/jobs/3", "#/jobs/3/pairs", "#/jobs/3/pairs/5", "#/jobs/3/agreement"):
        visitor.open(view)
        assert visitor.page.locator("main img").count() == 0
    visitor.open("#/jobs/3/pairs/5")
    visitor.see(f"{HOSTILE} Maria and")
    assert visitor.faults == []
