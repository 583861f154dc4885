import { html, useMemo } from "../core/ui.js";
import { originOf } from "./tip.js";
import { along, Walk } from "./walk.js";

const LARGEST = 560;
/** Keys to what points are ordered by, and how many of them a key passes: a share of all where it is below 1. */
const STEPS = {
  ArrowLeft: ["score", -1],
  ArrowRight: ["score", 1],
  ArrowDown: ["effect", -1],
  ArrowUp: ["effect", 1],
  PageDown: ["score", -0.1],
  PageUp: ["score", 0.1],
  Home: ["score", -Infinity],
  End: ["score", Infinity],
};

/** Effects over scores, with y = x and the fitted line; `tell(point)` gives a point's hint, `words(point)` says it. */
export function Scatter({ label, points, fit, unit, byLayer, tell, words, onOpen, keys }) {
  const orders = useMemo(() => ({ score: ordered(points, "score"), effect: ordered(points, "effect") }), [points]);
  const marks = {
    idOf: (datum) => datum.key ?? null,
    get: (id) => points[Number(id)],
    move: (id, key) => moved(orders, id, STEPS[key]),
    spot: (view, id) => spotOf(view, points[Number(id)]),
  };
  return html`<${Walk}
    label=${label}
    kind="scatter plot"
    keysHint="Left and right arrow keys move from point to point by score, up and down by effect"
    marks=${marks}
    spec=${(width, colours) => scatterSpec({ points, fit, unit, byLayer, width, colours })}
    keys=${[keys, byLayer, points.length, fit]}
    tell=${tell}
    words=${(id) => words(points[Number(id)])}
    onOpen=${onOpen}
  />`;
}

function ordered(points, by) {
  return points.map((_, index) => index).sort((a, b) => points[a][by] - points[b][by]).map(String);
}

function moved(orders, id, step) {
  if (!step) return undefined;
  const order = orders[step[0]];
  const share = Math.abs(step[1]) < 1;
  return along(order, id, share ? Math.sign(step[1]) * Math.ceil(Math.abs(step[1]) * order.length) : step[1]);
}

function spotOf(view, point) {
  const [left, top] = originOf(view);
  return [left + view.scale("x")(point.score), top + view.scale("y")(point.effect)];
}

function scatterSpec({ points, fit, unit, byLayer, width, colours }) {
  const all = points.flatMap((point) => [point.score, point.effect]);
  const [low, high] = widened(Math.min(0, ...all), Math.max(0, ...all));
  const size = Math.max(160, Math.min(LARGEST, width - (byLayer ? 130 : 70)));
  const lines = [{ kind: "y = x", x: low, y: low, x2: high, y2: high }];
  if (fit && fit.slope !== null && fit.intercept !== null) lines.push(fitted(fit, low, high));
  const scale = { domain: [low, high], nice: false, zero: false };
  return {
    width: size,
    height: size,
    padding: { top: 10, right: 2, bottom: 2, left: 2 },
    autosize: { type: "pad" },
    data: { values: points.map(({ score, effect, layer }, index) => ({ score, effect, layer, key: String(index) })) },
    params: [{ name: "marked", value: "" }],
    layer: [
      {
        mark: { type: "circle", size: points.length > 1500 ? 14 : 26, opacity: points.length > 1500 ? 0.45 : 0.65, color: colours.accent },
        encoding: {
          x: { field: "score", type: "quantitative", scale, axis: { title: `score (${unit})`, tickCount: 6 } },
          y: { field: "effect", type: "quantitative", scale, axis: { title: `exact effect (${unit})`, tickCount: 6 } },
          ...(byLayer && {
            color: { field: "layer", type: "quantitative", scale: { range: [colours.early, colours.late] }, legend: { title: "layer", format: "d", tickMinStep: 1 } },
          }),
        },
      },
      {
        data: { values: lines },
        mark: { type: "rule", clip: true, strokeWidth: 1.5 },
        encoding: {
          x: { field: "x", type: "quantitative", scale },
          y: { field: "y", type: "quantitative", scale },
          x2: { field: "x2" },
          y2: { field: "y2" },
          strokeDash: { field: "kind", type: "nominal", scale: { domain: lines.map((line) => line.kind), range: [[4, 4], [1, 0]] }, legend: { title: null, orient: "top", direction: "horizontal", symbolType: "stroke", symbolSize: 300, symbolStrokeColor: colours.text } },
          color: { value: colours.text },
        },
      },
      {
        transform: [{ filter: "datum.key === marked" }],
        mark: { type: "point", size: 150, strokeWidth: 2.5, color: colours.text, opacity: 1 },
        encoding: { x: { field: "score", type: "quantitative", scale }, y: { field: "effect", type: "quantitative", scale } },
      },
    ],
    resolve: { legend: { color: "independent" } },
  };
}

/** The fitted line, cut to the square that is drawn. */
function fitted({ slope, intercept }, low, high) {
  let [x, x2] = [low, high];
  if (slope !== 0) {
    const [one, two] = [(low - intercept) / slope, (high - intercept) / slope];
    x = Math.max(x, Math.min(one, two));
    x2 = Math.min(x2, Math.max(one, two));
  }
  return { kind: "fit", x, y: slope * x + intercept, x2, y2: slope * x2 + intercept };
}

function widened(low, high) {
  const rim = (high - low || 1) * 0.03;
  return [low - rim, high + rim];
}
