import { count, percent } from "../core/text/format.js";
import { html } from "../core/ui.js";

/** A state as a word with a mark of its own shape, so that colour is not all there is. */
export function State({ state }) {
  return html`<span class=${`state state-${state}`}>${state}</span>`;
}

/** How many pairs are through: measured, failed or skipped. */
export function reached(pairs) {
  return pairs.done + pairs.failed + pairs.skipped;
}

export function Progress({ pairs, label }) {
  const ended = reached(pairs);
  const share = pairs.total ? ended / pairs.total : 0;
  return html`<span class="progress">
    <progress max="1" value=${share} aria-label=${label}>${percent(ended, pairs.total)}</progress>
    <span class="digits">${count(ended)}/${count(pairs.total)}</span>
  </span>`;
}
