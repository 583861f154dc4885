import { estimateWords, intervalWords } from "../../core/text/bounds.js";
import { count, number } from "../../core/text/format.js";
import { html } from "../../core/ui.js";

/** A component's figures, as a hint beside a chart. */
export function ComponentTip({ row }) {
  return html`<strong>${row.component}</strong> <span class="muted">${row.site}</span>
    <dl>
      <div><dt>estimate</dt><dd>${estimateWords(row)}</dd></div>
      <div><dt>95 % interval</dt><dd>${intervalWords(row)}</dd></div>
      <div><dt>mean score</dt><dd>${number(row.mean)}</dd></div>
      <div><dt>patched exactly</dt><dd>${count(row.exact_n)} of ${count(row.n)}</dd></div>
    </dl>`;
}

export function componentWords(row) {
  return `${row.component}: estimate ${estimateWords(row)}, 95 % interval ${intervalWords(row)}, mean score ${number(row.mean)}, ${count(row.exact_n)} of ${count(row.n)} patched exactly`;
}
