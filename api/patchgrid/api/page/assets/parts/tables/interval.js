import { fitted, isBounded } from "../../core/text/bounds.js";
import { html } from "../../core/ui.js";

const WIDTH = 140;
const HEIGHT = 14;
const RIM = 6;
const MIDDLE = HEIGHT / 2;

/** An estimate with its interval, on the scale shared by all rows; an arrow where it extends beyond the scale. */
export function Interval({ row, domain }) {
  const [low, high] = domain;
  const middle = row.estimate ?? row.mean;
  if (middle === null || middle === undefined || low === high) return html`<span class="muted">–</span>`;
  const place = (value) => RIM + ((Math.max(low, Math.min(high, value)) - low) / (high - low)) * (WIDTH - 2 * RIM);
  const drawn = fitted(row, domain);
  return html`<svg class="interval" width=${WIDTH} height=${HEIGHT} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
    <line class="zero" x1=${place(0)} x2=${place(0)} y1="0" y2=${HEIGHT} />
    ${
      drawn &&
      html`<line class=${isBounded(row) ? "range" : "range open"} x1=${place(drawn.low)} x2=${place(drawn.high)} y1=${MIDDLE} y2=${MIDDLE} />
        ${drawn.lowCut && html`<path class="cut" d=${`M0 ${MIDDLE} L${RIM} ${MIDDLE - 4} V${MIDDLE + 4} Z`} />`}
        ${drawn.highCut && html`<path class="cut" d=${`M${WIDTH} ${MIDDLE} L${WIDTH - RIM} ${MIDDLE - 4} V${MIDDLE + 4} Z`} />`}`
    }
    <circle class=${row.estimate === null ? "mean" : "middle"} cx=${place(middle)} cy=${MIDDLE} r="2.5" />
  </svg>`;
}
