import { domainOf, estimateWords, isBounded, isUnbounded, plusMinus } from "../../core/text/bounds.js";
import { count, number, withInterval } from "../../core/text/format.js";
import { href } from "../../core/nav/route.js";
import { html } from "../../core/ui.js";
import { Interval } from "../../parts/tables/interval.js";

/** By these the server sorts; by `component`, as the model has them. */
const FIGURES = ["estimate", "ci_low", "ci_high", "width", "mean", "mean_abs", "std", "exact_n", "n"];

/** The query parameters of the table's order; an unknown order means by estimate. */
export function orderOf(sort, down) {
  if (sort === "component") return { by: null, order: down ? "down" : null };
  return { by: FIGURES.includes(sort) ? sort : "estimate", order: down ? null : "up" };
}

export function columns(job, method, shown, drawn) {
  const domain = domainOf(shown);
  const figure = (key, title, hint) => ({ key, title, hint, number: true, sort: true, cell: (row) => number(row[key]) });
  const bound = (key, title, hint, write) => ({ key, title, hint, number: true, sort: true, cell: (row) => bounded(row, write(row)) });
  return [
    {
      key: "component",
      title: "component",
      hint: "Sorted by site, layer and index",
      header: true,
      sort: true,
      cell: (row) =>
        html`<a href=${href(["jobs", job.job, "components", row.component], { site: row.site, method })}>${row.component}</a>`,
    },
    { key: "site", title: "site", cell: (row) => row.site },
    { ...figure("estimate", "estimate", "Estimated mean effect; sorted by size, or by the mean score if there is no estimate"), cell: estimateWords },
    bound("width", "± 95 %", "Half the 95 % interval; sorted by its width", plusMinus),
    drawn && { key: "interval", title: "drawn", hint: "Interval; an arrow means it extends further", cell: (row) => html`<${Interval} row=${row} domain=${domain} />` },
    bound("ci_low", "95 % low", "Lower end of the 95 % interval", (row) => end(row, row.ci_low)),
    bound("ci_high", "95 % high", "Upper end of the 95 % interval", (row) => end(row, row.ci_high)),
    figure("mean", "mean score", "Attribution alone; sorted by size"),
    figure("mean_abs", "mean |score|"),
    figure("std", "std", "Standard deviation of the score over pairs"),
    { key: "exact_n", title: "exact", hint: "Cells patched exactly", number: true, sort: true, cell: (row) => count(row.exact_n) },
    { key: "n", title: "pairs", number: true, sort: true, cell: (row) => count(row.n) },
  ].filter(Boolean);
}

/** An end with the digits that tell it from the other one. */
function end(row, value) {
  return withInterval(value, row.ci_low, row.ci_high)[0];
}

function bounded(row, words) {
  if (isUnbounded(row)) return html`<span class="muted" title=${number(row.ci_high - row.ci_low)}>no bound</span>`;
  return isBounded(row) ? words : number(null);
}
