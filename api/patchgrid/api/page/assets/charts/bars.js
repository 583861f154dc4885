import { html, useRef, useState } from "../core/ui.js";
import { Chart } from "./chart.js";
import { pointed, Tip } from "./tip.js";

const HIGH = 17;

/** The strongest components, one bar each, with their intervals. */
export function Bars({ label, rows, unit, tell, onOpen, keys }) {
  const [at, setAt] = useState(null);
  const [row, setRow] = useState(null);
  const live = useRef({});
  live.current = { rows, onOpen };

  function listen(view) {
    view.addEventListener("pointermove", (event, item) => {
      const found = live.current.rows[item?.datum?.index];
      setRow(found ?? null);
      setAt(found ? pointed(view, event) : null);
    });
    view.addEventListener("pointerout", () => setAt(null));
    view.addEventListener("click", (event, item) => {
      const found = live.current.rows[item?.datum?.index];
      if (found) live.current.onOpen?.(found);
    });
  }

  return html`<div class="grid opens">
    <${Chart} keys=${[keys, rows.length]} description=${label} spec=${(width, colours) => barsSpec(rows, unit, width, colours)} onView=${listen} />
    <${Tip} at=${row && at}>${row && tell(row)}<//>
  </div>`;
}

function barsSpec(rows, unit, width, colours) {
  const values = rows.map((row, index) => ({
    index,
    name: row.component,
    value: row.estimate ?? row.mean,
    low: row.ci_low,
    high: row.ci_high,
  }));
  // An interval of very few cells can be far wider than all bars together.
  const limit = 1.6 * Math.max(...values.map((row) => Math.abs(row.value ?? 0)));
  const ends = values.flatMap((row) => [row.value, row.low ?? 0, row.high ?? 0]).filter((value) => Math.abs(value) <= limit);
  const scale = { domain: [Math.min(0, ...ends), Math.max(0, ...ends)], nice: true };
  const y = { field: "name", type: "ordinal", sort: null, axis: { title: null, ticks: false, domain: false, labelLimit: 150, labelColor: colours.text } };
  return {
    width: Math.max(120, Math.min(640, width - 160)),
    height: HIGH * rows.length,
    padding: 2,
    autosize: { type: "pad" },
    data: { values },
    encoding: { y },
    layer: [
      {
        mark: { type: "bar", clip: true, height: { band: 0.7 } },
        encoding: {
          x: { field: "value", type: "quantitative", scale, axis: { title: unit, orient: "top", tickCount: 6 } },
          color: { condition: { test: "datum.value < 0", value: colours.negative }, value: colours.positive },
        },
      },
      {
        transform: [{ filter: "datum.low !== null" }],
        mark: { type: "rule", clip: true, strokeWidth: 1.5, color: colours.text },
        encoding: { x: { field: "low", type: "quantitative", scale }, x2: { field: "high" } },
      },
    ],
  };
}
