import { askAll, jobPath } from "../core/api.js";
import { useAnswer } from "../core/data.js";
import { freshness } from "../core/follow.js";
import { count, number } from "../core/format.js";
import { choose, href } from "../core/route.js";
import { html, useMemo } from "../core/ui.js";
import { Check, Choice, Search } from "../parts/controls.js";
import { Interval, domainOf } from "../parts/interval.js";
import { DataLinks } from "../parts/links.js";
import { MethodChoice, methodOf, Unmeasured } from "../parts/method.js";
import { Answer } from "../parts/problem.js";
import { Table } from "../parts/table.js";

const MOST = 5000;
const PAGE = 100;
const KINDS = [
  ["", "as the job measures"],
  ["whole", "all positions at once"],
  ["aligned", "by position"],
];

/** Every component with its estimate and interval; the strongest first. */
export function Components({ job, params }) {
  const method = methodOf(job, params);
  const { site = "", kind = "", population = "" } = params;
  const asked = { site, kind, method, population: population ? "true" : null, by: "estimate" };
  const path = jobPath(job.job, "components");
  const rows = useAnswer((signal) => askAll(path, { params: asked, most: MOST, signal }), [path, asked], {
    fresh: freshness(job),
  });
  const filter = (changes) => choose({ ...changes, page: null });
  return html`<form class="filters" role="search" aria-label="Components" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label="Site" value=${site} options=${[["", "all"], ...job.spec.sites]} onChange=${(value) => filter({ site: value })} />
      <${MethodChoice} job=${job} params=${params} />
      <${Choice} label="Components" value=${kind} options=${KINDS} onChange=${(value) => filter({ kind: value })} />
      <${Search} label="Name" value=${params.search} placeholder="a9.h6" onChange=${(value) => filter({ search: value })} />
      <${Check} label="Draw intervals" checked=${params.drawn !== "no"} onChange=${(on) => choose({ drawn: on ? null : "no" })} />
      <${Check}
        label="Of the pairs' source"
        hint="Widen the intervals to speak of where the pairs come from, and not of this job's pairs alone"
        checked=${Boolean(population)}
        onChange=${(on) => filter({ population: on ? "yes" : null })}
      />
      <${DataLinks} path=${path} params=${{ ...asked, limit: MOST }} what="Components" />
    </form>
    <${Answer} of=${rows}>${(data) => html`<${Found} job=${job} data=${data} params=${params} />`}<//>`;
}

function Found({ job, data, params }) {
  const { search = "", sort = "estimate", order = "down", page = "1" } = params;
  const down = order !== "up";
  const found = useMemo(() => {
    const text = search.toLowerCase();
    const kept = data.items.filter((row) => row.component.toLowerCase().includes(text));
    return sorted(kept, sort, down);
  }, [data.items, search, sort, down]);
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const at = Math.min(pages, Math.max(1, Number(page) || 1));
  const shown = found.slice((at - 1) * PAGE, at * PAGE);
  if (data.items.length === 0) return html`<${Unmeasured} job=${job} />`;
  return html`<p class="muted" role="status">
      ${count(found.length)} components${data.more ? `, of the ${count(MOST)} strongest: choose a site, or download all` : ""}
    </p>
    <${Table}
      caption="Components"
      columns=${columns(job, params.method, shown, params.drawn !== "no")}
      rows=${shown}
      rowKey=${(row) => `${row.site}/${row.component}`}
      sort=${{ by: sort, down }}
      onSort=${(by, isDown) => choose({ sort: by === "estimate" ? null : by, order: isDown ? null : "up", page: null })}
      empty="No component is named so."
    />
    ${
      pages > 1 &&
      html`<nav class="pager" aria-label="Pages">
        <button type="button" disabled=${at === 1} onClick=${() => choose({ page: at - 1 }, { step: true })}>Previous</button>
        <span>page ${at} of ${pages}</span>
        <button type="button" disabled=${at === pages} onClick=${() => choose({ page: at + 1 }, { step: true })}>Next</button>
      </nav>`
    }`;
}

/** By a number's size or a text; what is missing comes last. Estimates compare by size, as their rank does. */
function sorted(rows, by, down) {
  const sizes = new Set(["estimate", "mean"]);
  const value = (row) => {
    if (by === "width") return row.ci_high === null ? null : row.ci_high - row.ci_low;
    const found = row[by];
    return sizes.has(by) && found !== null ? Math.abs(found) : found;
  };
  const sign = down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [one, two] = [value(a), value(b)];
    if (one === null || one === undefined) return two === null || two === undefined ? 0 : 1;
    if (two === null || two === undefined) return -1;
    if (typeof one === "string") return sign * one.localeCompare(two, "en", { numeric: true });
    return sign * (one - two);
  });
}

function columns(job, method, shown, drawn) {
  const domain = domainOf(shown);
  const figure = (key, title, hint) => ({ key, title, hint, number: true, sort: true, cell: (row) => number(row[key]) });
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
    drawn && { key: "interval", title: "drawn", hint: "Interval, drawn", cell: (row) => html`<${Interval} row=${row} domain=${domain} />` },
    figure("ci_low", "95 % low"),
    figure("ci_high", "95 % high"),
    { key: "width", title: "width", hint: "Width of the interval", number: true, sort: true, cell: (row) => number(row.ci_high === null ? null : row.ci_high - row.ci_low) },
    figure("mean", "mean score", "Attribution alone; sorted by size"),
    figure("mean_abs", "mean |score|"),
    figure("std", "std", "Standard deviation of the score over pairs"),
    { key: "exact_n", title: "exact", hint: "Cells patched exactly", number: true, sort: true, cell: (row) => count(row.exact_n) },
    { key: "n", title: "pairs", number: true, sort: true, cell: (row) => count(row.n) },
  ].filter(Boolean);
}
