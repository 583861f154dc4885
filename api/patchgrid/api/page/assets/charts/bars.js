import { domainOf, fitted, isBounded } from "../core/text/bounds.js";
import { html } from "../core/ui.js";
import { originOf } from "./tip.js";
import { along, Walk } from "./walk.js";

const HIGH = 17;
const NO_INTERVAL = { low: null, high: null, lowCut: false, highCut: false };
const STEPS = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };

/** The strongest components, one bar each, with their intervals; `tell(row)` gives a bar's hint, `words(row)` says it. */
export function Bars({ label, rows, unit, tell, words, onOpen, keys }) {
  const ids = rows.map((_, index) => String(index));
  const marks = {
    idOf: (datum) => datum.key ?? null,
    get: (id) => rows[Number(id)],
    move: (id, key) => (STEPS[key] ? along(ids, id, STEPS[key]) : undefined),
    spot: (view, id) => spotOf(view, rows[Number(id)]),
  };
  return html`<${Walk}
    label=${label}
    kind="bar chart"
    keysHint="Arrow keys move from bar to bar, the strongest first"
    marks=${marks}
    spec=${(width, colours) => barsSpec(rows, unit, width, colours)}
    keys=${[keys, rows.length]}
    tell=${tell}
    words=${(id) => words(rows[Number(id)])}
    onOpen=${onOpen}
  />`;
}

function spotOf(view, row) {
  const [left, top] = originOf(view);
  const [x, y] = [view.scale("x"), view.scale("y")];
  return [left + x(Math.max(0, row.estimate ?? row.mean ?? 0)), top + y(row.component)];
}

function barsSpec(rows, unit, width, colours) {
  const domain = domainOf(rows);
  const values = rows.map((row, index) => ({
    key: String(index),
    name: row.component,
    value: row.estimate ?? row.mean,
    guess: row.estimate === null,
    ...(fitted(row, domain) ?? NO_INTERVAL),
    open: !isBounded(row),
  }));
  // Arrows stand at the ends of the scale, whole.
  const scale = { domain, nice: false, padding: 8 };
  const y = { field: "name", type: "ordinal", sort: null, axis: { title: null, ticks: false, domain: false, labelLimit: 150, labelColor: colours.text } };
  const x = (field) => ({ field, type: "quantitative", scale });
  const arrow = (end, shape) => ({
    transform: [{ filter: `datum.${end}Cut` }],
    mark: { type: "point", shape, filled: true, size: 40, opacity: 1, color: colours.text },
    encoding: { x: x(end) },
  });
  return {
    width: Math.max(120, Math.min(640, width - 160)),
    height: HIGH * rows.length,
    padding: 2,
    autosize: { type: "pad" },
    data: { values },
    params: [{ name: "marked", value: "" }],
    encoding: { y },
    layer: [
      {
        mark: { type: "bar", clip: true, height: { band: 0.7 } },
        encoding: {
          x: { ...x("value"), axis: { title: unit, orient: "top", tickCount: 6 } },
          color: { condition: { test: "datum.value < 0", value: colours.negative }, value: colours.positive },
          opacity: { condition: { test: "datum.guess", value: 0.4 }, value: 1 },
        },
      },
      {
        transform: [{ filter: "datum.low !== null" }],
        mark: { type: "rule", clip: true, strokeWidth: 1.5, color: colours.text },
        encoding: {
          x: x("low"),
          x2: { field: "high" },
          strokeDash: { condition: { test: "datum.open", value: [3, 3] }, value: [1, 0] },
        },
      },
      arrow("low", "triangle-left"),
      arrow("high", "triangle-right"),
      {
        transform: [{ filter: "datum.key === marked" }],
        mark: { type: "bar", fillOpacity: 0, stroke: colours.text, strokeWidth: 2, height: { band: 0.95 } },
        encoding: { x: x("value") },
      },
    ],
  };
}
