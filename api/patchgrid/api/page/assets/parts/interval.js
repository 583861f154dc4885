import { html } from "../core/ui.js";

const WIDTH = 140;
const HEIGHT = 14;
const RIM = 4;

/** An estimate with its interval, drawn on the scale that all rows share. */
export function Interval({ row, domain: [low, high] }) {
  const middle = row.estimate ?? row.mean;
  if (middle === null || middle === undefined || low === high) return html`<span class="muted">–</span>`;
  const place = (value) => RIM + ((Math.max(low, Math.min(high, value)) - low) / (high - low)) * (WIDTH - 2 * RIM);
  return html`<svg class="interval" width=${WIDTH} height=${HEIGHT} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
    <line class="zero" x1=${place(0)} x2=${place(0)} y1="0" y2=${HEIGHT} />
    <line class="range" x1=${place(row.ci_low ?? middle)} x2=${place(row.ci_high ?? middle)} y1=${HEIGHT / 2} y2=${HEIGHT / 2} />
    <circle class=${row.estimate === null ? "mean" : "middle"} cx=${place(middle)} cy=${HEIGHT / 2} r="2.5" />
  </svg>`;
}

/** The scale for `Interval`, 0 within it: intervals of few cells may be very wide and must not flatten all others. */
export function domainOf(rows) {
  const middles = rows.map((row) => row.estimate ?? row.mean ?? 0);
  const most = 1.5 * Math.max(0, ...middles.map(Math.abs));
  const ends = rows.flatMap((row) => [row.ci_low ?? 0, row.ci_high ?? 0]).map((end) => Math.max(-most, Math.min(most, end)));
  return [Math.min(0, ...middles, ...ends), Math.max(0, ...middles, ...ends)];
}

/** Whether a component's interval leaves out 0. */
export function isClear(row) {
  return row.ci_low !== null && row.ci_low !== undefined && row.ci_low * row.ci_high > 0;
}
