"""The form: every setting that the API takes, and refusals where they belong."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from browser.conftest import EXAMPLES, Visit
from patchgrid.api.schemas.request_models import JobRequest
from patchgrid.api.web.problems import of_error
from patchgrid.core import names
from patchgrid.core.errors import SpecError
from patchgrid.core.sites import SITES
from patchgrid.core.types import JobSpec
from support.browser.visitor import Visitor
from support.engine.refused import REFUSED

pytestmark = pytest.mark.browser

#: Fields of a job that no field of the form has for its own, and why.
ELSEWHERE = {
    "revision": "a model is chosen with its revision, as the server allows it",
    "refinements": "they are asked for once a job is done",
}
#: Names of the form's own.
OWN = {"other_metric"}
#: Every field at another value than its default.
CHANGED: dict[str, Any] = {
    "model": "a/model",
    "revision": "main",
    "sites": ["z", "mlp_post"],
    "positions": "keep",
    "method": "atp*,ig",
    "metric": "margin",
    "direction": "noise",
    "exact": 0.125,
    "exact_per_component": 12,
    "allocate": "score",
    "seed": 7,
    "dtype": "bfloat16",
    "prepend_bos": True,
    "detail": "positions",
    "source": "mean",
    "steps": 9,
    "path": "site",
    "grad_drop": True,
    "only_correct": True,
    "columns": "clean=prompt",
    "name": "of every kind",
    "key": "our key",
    "priority": -3,
    "chunk_size": 8,
    "limit": 20,
}


@pytest.fixture(scope="module")
def reader(chromium: Browser, address: str) -> Iterator[Visitor]:
    """Return a visitor whose page has the form's modules, for tests that leave it as it is."""
    visitor = Visitor(chromium, address)
    visitor.open("#/submit")
    yield visitor
    visitor.close()


def _open(visit: Visit) -> Visitor:
    visitor = visit()
    visitor.open("#/submit")
    visitor.page.get_by_label("Pair file").set_input_files(EXAMPLES / "ioi.jsonl")
    visitor.page.get_by_text("More settings").click()
    return visitor


def _field(page: Page, name: str) -> Any:
    return page.locator(f"form [name={name}]")


def _fill(page: Page) -> None:
    """Set every field to its value in `CHANGED`."""
    _field(page, "model").select_option(
        json.dumps([CHANGED["model"], CHANGED["revision"]], separators=(",", ":"))
    )
    for name, box in (("sites", "mlp_out"), ("method", "atp")):
        for each in (*CHANGED[name], box) if name == "sites" else ("ig", "atp*", box):
            page.locator(f"form [name={name}][value='{each}']").set_checked(each != box)
    page.locator("form [name=method][value='ig']").uncheck()
    page.locator("form [name=method][value='ig']").check()
    _field(page, "metric").select_option("other")
    _field(page, "other_metric").fill(CHANGED["metric"])
    _field(page, "exact").fill("12.5")
    _field(page, "prepend_bos").select_option("yes")
    for name in ("grad_drop", "only_correct"):
        _field(page, name).check()
    for name in ("direction", "allocate", "positions", "dtype", "detail", "source", "path"):
        _field(page, name).select_option(CHANGED[name])
    for name in (
        "name",
        "key",
        "exact_per_component",
        "seed",
        "steps",
        "priority",
        "chunk_size",
        "limit",
        "columns",
    ):
        _field(page, name).fill(str(CHANGED[name]))


def _sent(page: Page, status: int, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Answer what the form sends in the server's place; gives the specs that came."""
    specs: list[dict[str, Any]] = []

    def answer(route: Route) -> None:
        if route.request.method != "POST":
            route.fallback()
            return
        text = (route.request.post_data_buffer or b"").decode()
        found = re.search(r'name="spec"\r\n\r\n(.*?)\r\n--', text, re.DOTALL)
        assert found is not None
        specs.append(json.loads(found[1]))
        kind = "application/problem+json" if status >= 400 else "application/json"
        route.fulfill(status=status, content_type=kind, body=json.dumps(body))

    page.route("**/v1/jobs", answer)
    return specs


def test_the_form_has_every_field_of_a_job(visit: Visit) -> None:
    """A field that the API gains must be offered, or stand in `ELSEWHERE` with a reason."""
    visitor = _open(visit)
    _field(visitor.page, "metric").select_option("other")
    script = "each => [...new Set([...each.elements].map((field) => field.name).filter(Boolean))]"
    offered = set(visitor.page.locator("form.submit").evaluate(script))
    assert offered - OWN | ELSEWHERE.keys() == JobRequest.model_fields.keys()
    assert not offered & ELSEWHERE.keys()


def test_every_field_is_explained(visit: Visit) -> None:
    """What it means stands below it, and is told with it; what may be left alone says what it then is."""
    visitor = _open(visit)
    for field in visitor.page.locator(".fields input, .fields select").all():
        about = visitor.page.locator(f"#{field.get_attribute('aria-describedby')}")
        assert len(about.inner_text()) > 10, field.get_attribute("name")
    rare = visitor.page.locator("details.more .about").all_inner_texts()
    assert [text for text in rare if "Default: " not in text] == []


def test_every_field_reaches_the_server(visit: Visit) -> None:
    """By the API's name and in its units; the API takes what is sent."""
    visitor = visit()
    models = {"items": [{"model": CHANGED["model"], "revision": CHANGED["revision"], "serving": 1}]}
    visitor.page.route("**/v1/models", lambda route: route.fulfill(status=200, json=models))
    specs = _sent(visitor.page, 503, {"detail": "away"})
    visitor.open("#/submit")
    visitor.page.get_by_label("Pair file").set_input_files(EXAMPLES / "ioi.jsonl")
    visitor.page.get_by_text("More settings").click()
    _fill(visitor.page)
    visitor.page.get_by_role("button", name="Submit").click()
    visitor.see("away")
    assert specs == [CHANGED]
    assert CHANGED.keys() == JobRequest.model_fields.keys() - {"refinements"}
    defaults = JobRequest(model="m").model_dump()
    assert [name for name, value in CHANGED.items() if value == defaults[name]] == []
    taken = CHANGED | {"columns": {"clean": "prompt"}, "refinements": []}
    assert JobRequest.model_validate(specs[0]).model_dump(mode="json") == taken


def test_an_untouched_form_asks_for_the_defaults(visit: Visit) -> None:
    """Those of the API, but for the name of nothing."""
    visitor = _open(visit)
    specs = _sent(visitor.page, 503, {"detail": "away"})
    visitor.page.get_by_role("button", name="Submit").click()
    visitor.see("away")
    asked = JobRequest.model_validate(specs[0])
    assert asked.spec() == JobRequest(model=asked.model).spec()
    assert asked.model_dump(exclude={"model", "sites"}) == JobRequest(model="m").model_dump(
        exclude={"model", "sites"}
    )


def test_choices_are_those_that_the_engine_knows(visit: Visit) -> None:
    """No name is missing from a list, and none is made up."""
    visitor = _open(visit)
    known = {
        "metric": {*names.METRICS, "other"},
        "direction": names.DIRECTIONS,
        "positions": names.POSITIONS,
        "allocate": names.ALLOCATIONS,
        "source": names.SOURCES,
        "path": ["embedding", "site"],
        "detail": names.DETAILS,
        "dtype": names.DTYPES,
    }
    for name, expected in known.items():
        values = (
            _field(visitor.page, name).locator("option").evaluate_all("all => all.map(each => each.value)")
        )
        assert set(values) == set(expected), name
    boxes = visitor.page.locator("form [name=sites]").evaluate_all("all => all.map(each => each.value)")
    assert set(boxes) == set(SITES)


def test_options_of_methods_wait_for_their_method(visit: Visit) -> None:
    """And are not sent without it."""
    visitor = _open(visit)
    page = visitor.page
    for method, options in (("ig", ("steps", "path")), ("atp*", ("grad_drop",))):
        for name in options:
            expect(_field(page, name)).to_be_disabled()
        page.locator(f"form [name=method][value='{method}']").check()
        for name in options:
            expect(_field(page, name)).to_be_enabled()
    _field(page, "grad_drop").check()
    page.locator("form [name=method][value='atp*']").uncheck()
    specs = _sent(page, 503, {"detail": "away"})
    page.get_by_role("button", name="Submit").click()
    visitor.see("away")
    assert "grad_drop" not in specs[0]


def test_the_servers_refusals_stand_by_their_fields(visit: Visit) -> None:
    """The first one is gone to."""
    visitor = _open(visit)
    page = visitor.page
    _field(page, "name").fill("123")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#wrong-name")).to_contain_text("is not allowed")
    expect(_field(page, "name")).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("name: is not allowed")
    _field(page, "name").fill("a name")
    expect(page.locator(".wrong")).to_have_count(0)
    _field(page, "metric").select_option("other")
    _field(page, "other_metric").fill("logit_dif")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#wrong-other_metric")).to_contain_text("did you mean 'logit_diff'?")
    assert visitor.inaccessible() == []


@pytest.mark.parametrize(("field", "asked"), REFUSED)
def test_what_the_engine_refuses_stands_by_its_field(
    reader: Visitor, field: str, asked: dict[str, Any]
) -> None:
    """Each refusal is about a field of the form, and nothing of it is left over."""
    with pytest.raises(SpecError) as refused:
        JobSpec.of("m", **asked)
    script = """async (body) => {
      const { Problem } = await import("/assets/core/net/api.js");
      const { takenApart } = await import("/assets/views/submit/refusals.js");
      const { initialValues } = await import("/assets/views/submit/spec.js");
      const { settingsOf } = await import("/assets/views/submit/settings.js");
      const values = initialValues(settingsOf(await (await fetch("/openapi.json")).json()));
      const { fields, rest } = takenApart(new Problem(422, body), values);
      return [fields, rest === null];
    }"""
    document = of_error(refused.value).document("/v1/jobs")
    assert reader.page.evaluate(script, document) == [{field: str(refused.value)}, True]


def test_a_key_that_is_taken_is_refused_by_its_field(visit: Visit) -> None:
    """It belongs to a job of other settings."""
    for seed in ("1", "2"):
        visitor = _open(visit)
        _field(visitor.page, "key").fill("taken")
        _field(visitor.page, "seed").fill(seed)
        visitor.page.get_by_role("button", name="Submit").click()
        if seed == "1":
            visitor.see("the job makes no progress")
    expect(visitor.page.locator("#wrong-key")).to_contain_text("choose another key")
    expect(_field(visitor.page, "key")).to_be_focused()


def test_a_refusal_opens_what_it_is_about(visit: Visit) -> None:
    """A setting that is folded away is shown when it is wrong."""
    visitor = visit()
    page = visitor.page
    visitor.open("#/submit")
    page.get_by_label("Pair file").set_input_files(EXAMPLES / "ioi.jsonl")
    expect(_field(page, "chunk_size")).to_be_hidden()
    errors = [{"field": "chunk_size", "detail": "is too small for us"}]
    _sent(page, 422, {"title": "Bad value", "detail": "chunk_size: is too small for us", "errors": errors})
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#wrong-chunk_size")).to_have_text("is too small for us")
    expect(_field(page, "chunk_size")).to_be_focused()


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", "1.5"), ("chunk_size", "5000"), ("exact", "101"), ("priority", "-1001"), ("limit", "0")],
)
def test_numbers_are_checked_before_they_are_sent(visit: Visit, name: str, value: str) -> None:
    """The file need not travel for that."""
    visitor = _open(visit)
    specs = _sent(visitor.page, 503, {})
    _field(visitor.page, name).fill(value)
    visitor.page.get_by_role("button", name="Submit").click()
    expect(visitor.page.locator(f"#wrong-{name}")).to_contain_text("number from")
    assert specs == []
