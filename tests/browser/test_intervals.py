"""Intervals that say nothing: words in place of their numbers, and charts in which the others are seen."""

import random
import re
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import expect

from browser.conftest import Visit
from patchgrid.core.text.number_format import with_error, with_interval
from support.browser.answers import Pages, component
from support.browser.visitor import NONE, Visitor

pytestmark = pytest.mark.browser

COUNT = 6
#: Pixels of the colour that bars above 0 have.
BARS = """canvas => {
  const probe = document.createElement("span");
  probe.style.color = "var(--positive)";
  document.body.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[0-9]+/g).map(Number);
  probe.remove();
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4) {
    found += Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue) < 12;
  }
  return found / (canvas.width * canvas.height);
}"""


def _rows(visitor: Visitor) -> list[dict[str, Any]]:
    found = visitor.get("v1/jobs/1/components?site=mlp_post&by=estimate&limit=5000").json()["items"]
    return [row for row in found if row["ci_low"] is not None]


def _useless(row: dict[str, Any]) -> bool:
    return bool(
        (row["ci_high"] - row["ci_low"]) / 2 > 1000 * max(0.001, row["mean_abs"], abs(row["estimate"]))
    )


def test_the_database_has_such_intervals(visit: Visit) -> None:
    """The API gives their numbers as they are."""
    useless = [row for row in _rows(visit()) if _useless(row)]
    assert useless
    assert max(row["ci_high"] for row in useless) > 1e6


def test_a_table_says_that_there_is_no_bound_where_the_number_says_nothing(visit: Visit) -> None:
    """No power of ten is shown for one; what it is called is explained below."""
    visitor = visit()
    useless = [row["component"] for row in _rows(visitor) if _useless(row)]
    visitor.open("#/jobs/1/components?site=mlp_post")
    row = visitor.page.locator("tbody tr").filter(has_text="no bound").first
    assert row.locator("th").inner_text() in useless
    assert row.get_by_text("no bound").count() == 3
    assert row.locator("svg .open").count() == 1
    assert row.locator("svg .cut").count() == 2
    assert not re.search(r"e\+?\d", visitor.page.locator("tbody").inner_text())
    visitor.see("too few cells, too unevenly weighted")


@pytest.mark.parametrize("order", ["&order=up", ""])
@pytest.mark.parametrize("by", ["width", "ci_low", "ci_high"])
def test_what_has_no_bound_comes_last(visit: Visit, by: str, order: str) -> None:
    """Whichever way the rows are sorted: the first page has numbers alone."""
    visitor = visit()
    visitor.open(f"#/jobs/1/components?site=mlp_post&sort={by}{order}")
    heads = visitor.page.locator("thead th").all_inner_texts()
    column = next(index for index, head in enumerate(heads) if head.endswith(("↑", "↓")))
    cells = visitor.page.locator("tbody tr").locator("th, td")
    texts = cells.all_inner_texts()[column :: len(heads)]
    assert len(texts) == 100
    assert not {"no bound", NONE} & set(texts)
    read = [text.removeprefix("± ").replace("\N{MINUS SIGN}", "-").replace(",", "") for text in texts]
    numbers = [Decimal(text) * (1 if order else -1) for text in read]
    # Each row is rounded to its own digits.
    steps = [Decimal(10) ** int(each.as_tuple().exponent) for each in numbers]
    for (one, other), rounding in zip(pairwise(numbers), pairwise(steps), strict=True):
        assert one <= other + sum(rounding)


def test_the_hint_of_a_bar_says_why(visit: Visit) -> None:
    """In words, with the number of cells."""
    rows = [component("n0.0", "mlp_post", 1.0, unit=0) | {"ci_low": -1e59, "ci_high": 1e59, "exact_n": 2}]
    visitor = visit()
    Pages(visitor.page, "v1/jobs/1/components", lambda _: rows)
    visitor.open("#/jobs/1/heads?site=mlp_post")
    visitor.page.get_by_role("application").press("Home")
    said = visitor.page.locator(".grid [aria-live]").inner_text()
    assert "no useful bound from 2 exact cells" in said
    assert "e+" not in said


def test_one_interval_does_not_flatten_the_bars(visit: Visit) -> None:
    """With an interval of 1e59 the bars are about as long as without it."""
    rows = [component(f"n0.{index}", "mlp_post", 1.0, unit=index) for index in range(COUNT)]
    shares = []
    for wide in (False, True):
        if wide:
            rows[0] |= {"ci_low": -1e59, "ci_high": 1e59, "exact_n": 2}
        visitor = visit()
        Pages(visitor.page, "v1/jobs/1/components", lambda _: rows)
        visitor.open("#/jobs/1/heads?site=mlp_post")
        shares.append(visitor.page.locator("canvas").evaluate(BARS))
    assert shares[0] > 0.1
    assert shares[1] > 0.2 * shares[0]
    visitor.see("Dashed: too few cells")


def test_an_interval_is_worth_reading_up_to_a_thousand_times_a_components_size(visit: Visit) -> None:
    """And about 0 however wide it is beside that."""
    visitor = visit()
    visitor.open("#/jobs")
    bounded = "row => import('/assets/core/text/bounds.js').then((found) => found.isBounded(row))"
    words = "row => import('/assets/core/text/bounds.js').then((found) => found.intervalWords(row))"
    row = component("a0.h0", "z", 0.5)
    for half, expected in ((499.0, True), (501.0, False), (1e59, False)):
        assert visitor.page.evaluate(bounded, row | {"ci_low": -half, "ci_high": half}) is expected
    tiny = {"estimate": 1e-9, "mean": 1e-9, "mean_abs": 1e-9, "ci_low": -1e-3, "ci_high": 1e-3}
    assert visitor.page.evaluate(bounded, row | tiny) is True
    none = row | {"ci_low": None, "ci_high": None}
    assert visitor.page.evaluate(words, none | {"exact_n": 1}) == "none from one exact cell"
    assert visitor.page.evaluate(words, none | {"exact_n": 0}) == "none: no exact cell"
    assert visitor.page.evaluate(words, row) == "± 0.050"
    census = row | {"ci_low": 0.5, "ci_high": 0.5, "exact_n": 24}
    assert visitor.page.evaluate(words, census) == "± 0 for these pairs: all patched exactly"
    expect(visitor.heading()).to_have_text("Jobs")


def test_the_page_writes_numbers_as_the_command_line_does(visit: Visit) -> None:
    """One rule, written once in each language: over numbers and intervals of any size."""
    visitor = visit()
    visitor.open("#/jobs")
    module = "import('/assets/core/text/format.js')"
    write = f"asked => {module}.then((found) => asked.map((each) => found.withInterval(...each)))"
    draws = random.Random(0)
    asked = []
    for _ in range(300):
        middle = draws.choice([-1, 1]) * 10 ** draws.uniform(-5, 7)
        low, high = (middle + side * abs(middle) * 10 ** draws.uniform(-3, 1) for side in (-1, 1))
        asked.append((middle, low, draws.choice([high, 2 * middle - low])))
    asked += [(4.968, 4.968, 4.968), (0.0, -0.5, 0.5)]
    write_error = f"asked => {module}.then((found) => asked.map((each) => found.withError(...each)))"
    errors = [(middle, abs(middle - low)) for middle, low, _ in asked]
    for each, words in zip(errors, visitor.page.evaluate(write_error, errors), strict=True):
        theirs = words.replace("\N{MINUS SIGN}", "-")
        assert _exponents(theirs) == _exponents(with_error(*each)), each
    for each, words in zip(asked, visitor.page.evaluate(write, asked), strict=True):
        ours = [re.sub(r"(?<!e)\+", "", text) for text in with_interval(*each)]
        texts = [text.replace("\N{MINUS SIGN}", "-").replace(NONE, "-") for text in words]
        assert [_exponents(text) for text in texts] == [_exponents(text) for text in ours], each


def _exponents(text: str) -> str:
    """Write `e+07` and `e+7` alike."""
    return re.sub(r"e\+?(-?)0*", r"e\1", text)
