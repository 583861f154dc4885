import { domainOf, isBounded, isUnbounded } from "../core/bounds.js";
import { count, number } from "../core/format.js";
import { href } from "../core/route.js";
import { html } from "../core/ui.js";
import { Interval } from "../parts/interval.js";

/** By these, rows compare by size, as their rank does. */
const SIZES = new Set(["estimate", "mean"]);
/** These come from the interval: one that says nothing comes last, as one that is missing does. */
const ENDS = { ci_low: (row) => row.ci_low, ci_high: (row) => row.ci_high, width: (row) => row.ci_high - row.ci_low };

function valueOf(row, by) {
  if (by in ENDS) return isBounded(row) ? ENDS[by](row) : null;
  const found = row[by];
  return SIZES.has(by) && found !== null ? Math.abs(found) : found;
}

/** By a number or a text; what is missing comes last in both directions. */
export function sorted(rows, by, down) {
  const sign = down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [one, two] = [valueOf(a, by), valueOf(b, by)];
    if (one === null || one === undefined) return two === null || two === undefined ? 0 : 1;
    if (two === null || two === undefined) return -1;
    if (typeof one === "string") return sign * one.localeCompare(two, "en", { numeric: true });
    return sign * (one - two);
  });
}

export function columns(job, method, shown, drawn) {
  const domain = domainOf(shown);
  const figure = (key, title, hint) => ({ key, title, hint, number: true, sort: true, cell: (row) => number(row[key]) });
  const end = (key, title, hint) => ({ key, title, hint, number: true, sort: true, cell: (row) => bound(row, ENDS[key](row)) });
  return [
    {
      key: "component",
      title: "component",
      header: true,
      sort: true,
      cell: (row) =>
        html`<a href=${href(["jobs", job.job, "components", row.component], { site: row.site, method })}>${row.component}</a>`,
    },
    { key: "site", title: "site", sort: true, cell: (row) => row.site },
    figure("estimate", "estimate", "Estimated mean effect; sorted by size"),
    drawn && { key: "interval", title: "drawn", hint: "Interval, drawn; an arrow: it goes on", cell: (row) => html`<${Interval} row=${row} domain=${domain} />` },
    end("ci_low", "95 % low", "Lower end of the 95 % interval"),
    end("ci_high", "95 % high", "Upper end of the 95 % interval"),
    end("width", "width", "Width of the interval"),
    figure("mean", "mean score", "Attribution alone; sorted by size"),
    figure("mean_abs", "mean |score|"),
    figure("std", "std", "Standard deviation of the score over pairs"),
    { key: "exact_n", title: "exact", hint: "Cells patched exactly", number: true, sort: true, cell: (row) => count(row.exact_n) },
    { key: "n", title: "pairs", number: true, sort: true, cell: (row) => count(row.n) },
  ].filter(Boolean);
}

function bound(row, value) {
  if (isUnbounded(row)) return html`<span class="muted" title=${number(value)}>no bound</span>`;
  return number(isBounded(row) ? value : null);
}
