import { ago, moment } from "../core/text/format.js";
import { html } from "../core/ui.js";

/** How long ago; the time itself on pointing at it. */
export function Time({ at }) {
  if (!at) return html`<span class="muted">–</span>`;
  return html`<time datetime=${new Date(at * 1000).toISOString()} title=${moment(at)}>${ago(at)}</time>`;
}
