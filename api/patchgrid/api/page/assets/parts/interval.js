import { html } from "../core/ui.js";

const WIDTH = 120;
const HEIGHT = 14;

/** An estimate with its interval, drawn on the scale that all rows share: from -limit to limit. */
export function Interval({ row, limit }) {
  const middle = row.estimate ?? row.mean;
  if (middle === null || middle === undefined || !limit) return html`<span class="muted">–</span>`;
  const place = (value) => ((Math.max(-limit, Math.min(limit, value)) + limit) / (2 * limit)) * (WIDTH - 6) + 3;
  const [low, high] = [row.ci_low ?? middle, row.ci_high ?? middle];
  return html`<svg class="interval" width=${WIDTH} height=${HEIGHT} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
    <line class="zero" x1=${WIDTH / 2} x2=${WIDTH / 2} y1="0" y2=${HEIGHT} />
    <line class="range" x1=${place(low)} x2=${place(high)} y1=${HEIGHT / 2} y2=${HEIGHT / 2} />
    <circle class=${row.estimate === null ? "mean" : "middle"} cx=${place(middle)} cy=${HEIGHT / 2} r="3" />
  </svg>`;
}

/** The scale for `Interval`: intervals of few cells may be very wide and must not flatten all others. */
export function limitOf(rows) {
  const middles = rows.map((row) => Math.abs(row.estimate ?? row.mean ?? 0));
  return 1.25 * Math.max(0, ...middles);
}

/** Whether a component's interval leaves out 0. */
export function isClear(row) {
  return row.ci_low !== null && row.ci_low !== undefined && row.ci_low * row.ci_high > 0;
}
