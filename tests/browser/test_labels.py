"""Labels of heatmaps: the first one on every grid, and none that runs into its neighbour."""

from itertools import pairwise
from typing import Any

import pytest

from browser.conftest import Visit

pytestmark = pytest.mark.browser

SIZES = range(1, 129)
#: Draws heatmaps without a canvas, and gives the labels of each: text, box, angle and anchor.
DRAW = """async (grids) => {
  const load = (path) => import(new URL(`assets/${path}`, document.baseURI).href);
  const { gridSpec } = await load("charts/gridspec.js");
  const { library } = await load("charts/library.js");
  const { config, palette } = await load("charts/palette.js");
  const { vega, vegaLite, expressionInterpreter } = await library();
  const colours = palette();
  const labelsOf = (item, found) => {
    for (const each of item.items ?? []) {
      if (item.marktype === "text" && item.role === "axis-label") {
        const { x1, x2, y1, y2 } = each.bounds;
        found.push({ text: String(each.text), x1, x2, y1, y2, x: each.x, angle: each.angle ?? 0 });
      } else labelsOf(each, found);
    }
    return found;
  };
  const axesOf = (item, found) => {
    for (const each of item.items ?? []) {
      if (item.role === "axis") found.push(labelsOf(each, []));
      else axesOf(each, found);
    }
    return found.filter((labels) => labels.length > 0);
  };
  const drawn = [];
  for (const { rows, columns, width, atEnd } of grids) {
    const cells = [{ row: 0, column: 0, value: 1 }];
    const about = { columnTitle: "head", rowTitle: "layer", legend: ["score"], stretched: false, atEnd };
    const given = gridSpec({ rows, columns, cells, width, colours, ...about });
    const { spec } = vegaLite.compile(given, { config: config(colours) });
    const parsed = vega.parse(spec, null, { ast: true });
    const view = new vega.View(parsed, { expr: expressionInterpreter, renderer: "none" });
    await view.runAsync();
    drawn.push(axesOf(view.scenegraph().root, []));
    view.finalize();
  }
  return drawn;
}"""


def _draw(visit: Visit, grids: list[dict[str, Any]]) -> list[list[list[dict[str, Any]]]]:
    visitor = visit()
    visitor.open("#/jobs")
    drawn: list[list[list[dict[str, Any]]]] = visitor.page.evaluate(DRAW, grids)
    assert visitor.faults == []
    return drawn


def _collide(labels: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return neighbouring labels on the upper axis that overlap."""
    pairs = pairwise(labels)
    if labels[0]["angle"]:
        # Slanted ones lie side by side: 50 degrees, letters 11 pixels high.
        return [(one["text"], other["text"]) for one, other in pairs if (other["x"] - one["x"]) * 0.766 < 11]
    return [(one["text"], other["text"]) for one, other in pairs if one["x2"] > other["x1"]]


def test_layer_0_and_head_0_are_labelled_on_every_grid(visit: Visit) -> None:
    """From 1 x 1 to 128 x 128, and of other shapes, on a desk and on a phone; neighbours stay apart."""
    shapes = [(size, size, width) for size in SIZES for width in (1240, 360)]
    shapes += [(size, 129 - size, 1240) for size in SIZES]
    grids = [
        {"rows": list(range(rows)), "columns": list(range(columns)), "width": width}
        for rows, columns, width in shapes
    ]
    wrong = []
    for grid, axes in zip(grids, _draw(visit, grids), strict=True):
        size = (len(grid["rows"]), len(grid["columns"]), grid["width"])
        if [labels[0]["text"] for labels in axes] != ["0", "0"]:
            wrong.append((size, "no 0"))
        upper = next(labels for labels in axes if labels[-1]["x"] > 0 or size[1] == 1)
        wrong += [(size, pair) for pair in _collide(upper)]
    assert wrong == []


TOKENS = {
    "short": [f"{place} \N{MIDDLE DOT}to" for place in range(40)],
    "long": [f"{place} \N{MIDDLE DOT}international/\N{MIDDLE DOT}organisation" for place in range(300)],
    "wide letters": [f"{place} \u6771\u4eac\u90fd" for place in range(60)],
    "few": ["0 \N{MIDDLE DOT}Mary", "1 \N{MIDDLE DOT}and", "2 ,", "3 \N{MIDDLE DOT}John/\N{MIDDLE DOT}Tom"],
    "from the end": [str(place) for place in range(-300, 0)],
    "spans": ["subject", "verb", "object", "(rest)"],
}


@pytest.mark.parametrize("name", TOKENS)
def test_labels_of_tokens_do_not_collide(visit: Visit, name: str) -> None:
    """Upright where all have room, slanted where not; of very many some, the last if that is seen first."""
    columns = TOKENS[name]
    grids = [
        {"rows": list(range(12)), "columns": columns, "width": width, "atEnd": at_end}
        for width in (1240, 700, 360)
        for at_end in (False, True)
    ]
    for grid, axes in zip(grids, _draw(visit, grids), strict=True):
        upper = max(axes, key=lambda labels: labels[-1]["x"])
        first = upper[-1 if grid["atEnd"] else 0]["text"]
        assert first == columns[-1 if grid["atEnd"] else 0].replace("-", "\N{MINUS SIGN}")
        assert _collide(upper) == []
