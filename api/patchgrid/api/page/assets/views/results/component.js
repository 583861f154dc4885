import { Scatter } from "../../charts/scatter.js";
import { ask, askAll, jobPath } from "../../core/net/api.js";
import { isPatched } from "../../core/text/budget.js";
import { domainOf, estimateWords, intervalWords } from "../../core/text/bounds.js";
import { useAnswer, useData } from "../../core/net/data.js";
import { freshness } from "../../core/net/follow.js";
import { count, metricWords, number } from "../../core/text/format.js";
import { wholeName } from "../../core/text/naming.js";
import { go, href } from "../../core/nav/route.js";
import { SITE_WORDS } from "../../core/text/sites.js";
import { html } from "../../core/ui.js";
import { Copy } from "../../parts/copy.js";
import { Interval } from "../../parts/tables/interval.js";
import { DataLinks } from "../../parts/links.js";
import { estimators, methodOf } from "../../parts/forms/method.js";
import { Answer } from "../../parts/problem.js";
import { ShortTable } from "../../parts/tables/shorttable.js";
import { Table } from "../../parts/tables/table.js";
import { ItsGroups } from "./groups.js";

/** Most cells drawn at once. */
const MOST = 20_000;

/** One component: its figures by each method, and the cells of it that were patched exactly. */
export function Component({ job, params, name }) {
  const site = job.spec.sites.includes(params.site) ? params.site : null;
  const method = methodOf(job, params);
  const path = jobPath(job.job, "components");
  const found = useAnswer((signal) => rowsOf(path, estimators(job), { component: name, site }, signal), [path, name, site, estimators(job)], {
    fresh: freshness(job),
  });
  return html`<div class="head">
      <h2>${name}</h2>
      <${Copy} text=${name} what="the component's name" />
      <a href=${href(["jobs", job.job, "components"], { site: params.site, method: params.method })}>All components</a>
    </div>
    <${Answer} of=${found}>
      ${(rows) => {
        if (rows.length === 0) return html`<p class="empty">This job has no results for this component${params.site ? ` at ${params.site}` : ""}.</p>`;
        const [row] = rows;
        return html`<p class="muted">${row.site} (${SITE_WORDS[row.site] ?? row.site}), layer ${row.layer}</p>
          <div class="head"><h3>By method</h3><${DataLinks} path=${path} params=${{ component: name, method }} what=${name} /></div>
          <${Table} caption=${`${name} by method`} columns=${methodColumns(domainOf(rows), job)} rows=${rows} />
          ${row.position === null && job.spec.positions === "keep" && html`<${ItsPositions} job=${job} row=${row} method=${method} />`}
          <${ItsGroups} job=${job} row=${row} method=${method} />
          ${isPatched(job) && html`<${Cells} job=${job} row=${row} method=${method} />`}`;
      }}
    <//>`;
}

/** The component's row by each method; none where the job has no component of that name. */
async function rowsOf(path, methods, asked, signal) {
  const answers = await Promise.all(methods.map((method) => ask(path, { params: { ...asked, method }, signal })));
  return answers.flatMap(({ items, method }) => items.map((row) => ({ ...row, method })));
}

function methodColumns(domain, job) {
  // Where positions are kept, each is a component and has an estimate; all of them together have none.
  const apart = (row) => row.position === null && job.spec.positions === "keep";
  return [
    { key: "method", title: "method", header: true, cell: (row) => (row.method === "combined" ? "all together" : row.method) },
    { key: "estimate", title: "estimate", number: true, cell: estimateWords },
    { key: "drawn", title: "drawn", cell: (row) => html`<${Interval} row=${row} domain=${domain} />` },
    { key: "interval", title: "95 % interval", number: true, cell: (row) => (apart(row) ? `by ${placeWord(job)}, below` : intervalWords(row)) },
    { key: "mean", title: "mean score", number: true, cell: (row) => number(row.mean) },
    { key: "mean_abs", title: "mean |score|", number: true, cell: (row) => number(row.mean_abs) },
    { key: "std", title: "std", number: true, cell: (row) => number(row.std) },
    { key: "exact_n", title: "exact", number: true, cell: (row) => count(apart(row) ? null : row.exact_n) },
    { key: "n", title: "pairs", number: true, cell: (row) => count(row.n) },
  ];
}

function placeWord(job) {
  return job.spans.length > 0 ? "span" : "position";
}

/** The component at each position of its own: in a job that keeps positions, each is a component. */
function ItsPositions({ job, row, method }) {
  const params = { component: row.component, site: row.site, kind: "aligned", method, limit: 10_000 };
  const path = jobPath(job.job, "components");
  const found = useData(path, params, { fresh: freshness(job) });
  return html`<section aria-labelledby="positions">
    <div class="head"><h3 id="positions">By ${placeWord(job)}</h3><${DataLinks} path=${path} params=${params} what=${`Positions of ${row.component}`} /></div>
    <${Answer} of=${found}>
      ${({ items }) => html`<${ShortTable} caption=${`Positions of ${row.component}`} columns=${positionColumns(job, method, domainOf(items))} rows=${items} />`}
    <//>
  </section>`;
}

function positionColumns(job, method, domain) {
  const link = (row) => html`<a href=${href(["jobs", job.job, "components", row.component], { site: row.site, method })}>${row.component}</a>`;
  return [{ key: "component", title: "component", header: true, cell: link }, ...methodColumns(domain, job).slice(1)];
}

function Cells({ job, row, method }) {
  const path = jobPath(job.job, "exact");
  // Where positions were summed, the cells are those of whole components.
  const params = { component: job.spec.positions === "keep" ? row.component : wholeName(row), method };
  // Where its row counts cells, these are all that there are.
  const total = row.exact_n > 0 && params.component === row.component ? row.exact_n : null;
  const cells = useAnswer((signal) => askAll(path, { params, most: Math.min(MOST, total ?? MOST), size: MOST, signal }), [path, params, total], {
    fresh: freshness(job),
  });
  return html`<section class="panel wide" aria-labelledby="cells">
    <div class="head">
      <h3 id="cells">Patched exactly <span class="muted">by ${method}</span></h3>
      <${DataLinks} path=${path} params=${{ ...params, limit: MOST }} what=${`Cells of ${params.component}`} />
    </div>
    <${Answer} of=${cells}>
      ${({ items, more }) => html`<${CellCount} shown=${items.length} total=${total} row=${row} more=${more} />
        ${items.length > 0 && html`<${CellsDrawn} job=${job} row=${row} method=${method} items=${items} />`}`}
    <//>
  </section>`;
}

/** How many of the component's cells there are here. */
function CellCount({ shown, total, row, more }) {
  if (shown === 0) return html`<p class="empty">None of its cells was patched exactly.</p>`;
  const where = total === null ? "; at all positions" : "";
  const part = shown < total || (total === null && more);
  const of = part ? `The first ${count(shown)} of ${total === null ? "more" : count(total)} cells by pair` : `${count(shown)} cells`;
  return html`<p class="muted" role="status">${of}, the largest effect first${where}${part && "; the export has all"}</p>`;
}

function CellsDrawn({ job, row, method, items }) {
  const largest = [...items].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  const words = (cell) => `pair ${cell.pair}, ${cell.component}: score ${number(cell.score)}, exact effect ${number(cell.effect)}`;
  return html`<div class="beside">
    <${Scatter}
      label=${`Exact effect against score of ${count(items.length)} cells of ${row.component}; listed in the table beside it`}
      points=${items}
      unit=${metricWords(job.spec.metric)}
      tell=${(cell) => html`<strong>pair ${cell.pair}</strong> <span>score ${number(cell.score)}, effect ${number(cell.effect)}</span>`}
      words=${words}
      onOpen=${(cell) => go(["jobs", job.job, "pairs"], { name: cell.pair, site: row.site, method })}
      keys=${[job.job, row.site, row.component, method]}
    />
    <div><${ShortTable} caption=${`Cells of ${row.component}`} columns=${cellColumns(job, row)} rows=${largest} /></div>
  </div>`;
}

function cellColumns(job, { site, position }) {
  return [
    { key: "pair", title: "pair", header: true, cell: (cell) => html`<a href=${href(["jobs", job.job, "pairs"], { name: cell.pair, site })}>${cell.pair}</a>` },
    (position === null && job.spec.positions === "keep") && { key: "cell", title: "cell", cell: (cell) => cell.component },
    { key: "score", title: "score", number: true, cell: (cell) => number(cell.score) },
    { key: "effect", title: "effect", number: true, cell: (cell) => number(cell.effect) },
    { key: "inclusion", title: "inclusion", number: true, cell: (cell) => number(cell.inclusion) },
  ].filter(Boolean);
}
