import { html, useRef, useState } from "../core/ui.js";
import { Chart } from "./chart.js";
import { pointed, Tip } from "./tip.js";

const LARGEST = 560;

/** Effects over scores, with y = x and the fitted line; `tell(point)` gives a point's hint. */
export function Scatter({ label, points, fit, unit, byLayer, tell, onOpen, keys }) {
  const [at, setAt] = useState(null);
  const [point, setPoint] = useState(null);
  const live = useRef({});
  live.current = { points, onOpen };

  function listen(view) {
    view.addEventListener("pointermove", (event, item) => {
      const found = live.current.points[item?.datum?.index];
      setPoint(found ?? null);
      setAt(found ? pointed(view, event) : null);
    });
    view.addEventListener("pointerout", () => setAt(null));
    view.addEventListener("click", (event, item) => {
      const found = live.current.points[item?.datum?.index];
      if (found) live.current.onOpen?.(found);
    });
  }

  return html`<div class="grid opens">
    <${Chart}
      keys=${[keys, byLayer, points.length, fit]}
      description=${label}
      spec=${(width, colours) => scatterSpec({ points, fit, unit, byLayer, width, colours })}
      onView=${listen}
    />
    <${Tip} at=${point && at}>${point && tell(point)}<//>
  </div>`;
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
    layer: [
      {
        data: { values: points.map(({ score, effect, layer }, index) => ({ score, effect, layer, index })) },
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
