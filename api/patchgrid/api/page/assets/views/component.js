import { askAll, jobPath } from "../core/api.js";
import { Scatter } from "../charts/scatter.js";
import { useAnswer } from "../core/data.js";
import { freshness } from "../core/follow.js";
import { count, interval, number } from "../core/format.js";
import { cellName } from "../core/naming.js";
import { href } from "../core/route.js";
import { componentKey, isWide, SITE_WORDS } from "../core/sites.js";
import { html } from "../core/ui.js";
import { Interval, domainOf } from "../parts/interval.js";
import { DataLinks } from "../parts/links.js";
import { methodOf } from "../parts/method.js";
import { Answer } from "../parts/problem.js";
import { ShortTable } from "../parts/shorttable.js";
import { Table } from "../parts/table.js";

const MOST = 20_000;

/** One component: its figures by each method, and the cells of it that were patched exactly. */
export function Component({ job, params, name }) {
  const sites = job.spec.sites.includes(params.site) ? [params.site] : job.spec.sites;
  const method = methodOf(job, params);
  const path = jobPath(job.job, "components");
  const found = useAnswer(
    async (signal) => {
      const asked = sites.flatMap((site) => job.methods.map((each) => ({ site, method: each })));
      const answers = await Promise.all(asked.map((each) => rowsOf(path, name, each, signal)));
      return answers.flat();
    },
    [path, name, sites],
    { fresh: freshness(job) },
  );
  return html`<div class="head">
      <h2>${name}</h2>
      <a href=${href(["jobs", job.job, "components"], { site: params.site, method: params.method })}>All components</a>
    </div>
    <${Answer} of=${found}>
      ${(rows) => {
        if (rows.length === 0) return html`<p class="empty">This job has no results for a component of that name${params.site ? ` at ${params.site}` : ""}.</p>`;
        const site = rows[0].site;
        return html`<p class="muted">${SITE_WORDS[site] ?? site}, ${site}, layer ${rows[0].layer}</p>
          <div class="head"><h3>By method</h3><${DataLinks} path=${path} params=${{ site, method }} what=${`Components of ${site}`} /></div>
          <${Table} caption=${`${name} by method`} columns=${methodColumns(domainOf(rows))} rows=${rows.filter((row) => row.site === site)} />
          ${job.spec.exact > 0 && html`<${Cells} job=${job} row=${rows[0]} method=${method} />`}`;
      }}
    <//>`;
}

/** The rows of that name, whichever positions; of a site of very many, the strongest are looked through. */
async function rowsOf(path, name, { site, method }, signal) {
  const kind = name.includes("@") ? "aligned" : "whole";
  const params = isWide(site) ? { site, method, kind, by: "estimate" } : { site, method, kind };
  const { items } = await askAll(path, { params, most: MOST, signal });
  return items.filter((row) => row.component === name).map((row) => ({ ...row, method }));
}

function methodColumns(domain) {
  return [
    { key: "method", title: "method", header: true, cell: (row) => row.method },
    { key: "estimate", title: "estimate", number: true, cell: (row) => number(row.estimate) },
    { key: "drawn", title: "drawn", cell: (row) => html`<${Interval} row=${row} domain=${domain} />` },
    { key: "interval", title: "95 % interval", number: true, cell: (row) => interval(row.ci_low, row.ci_high) },
    { key: "mean", title: "mean score", number: true, cell: (row) => number(row.mean) },
    { key: "mean_abs", title: "mean |score|", number: true, cell: (row) => number(row.mean_abs) },
    { key: "std", title: "std", number: true, cell: (row) => number(row.std) },
    { key: "exact_n", title: "exact", number: true, cell: (row) => count(row.exact_n) },
    { key: "n", title: "pairs", number: true, cell: (row) => count(row.n) },
  ];
}

function Cells({ job, row, method }) {
  const path = jobPath(job.job, "exact");
  const key = componentKey(row);
  const cells = useAnswer(
    async (signal) => {
      const { items, more } = await askAll(path, { params: { site: row.site, method }, most: MOST, signal });
      return { items: items.filter((cell) => componentKey(cell) === key), more };
    },
    [path, key, method],
    { fresh: freshness(job) },
  );
  return html`<section class="panel wide" aria-labelledby="cells">
    <div class="head">
      <h3 id="cells">Patched exactly <span class="muted">by ${method}</span></h3>
      <${DataLinks} path=${path} params=${{ site: row.site, method, limit: MOST }} what=${`Cells of ${row.site}`} />
    </div>
    <${Answer} of=${cells}>
      ${({ items, more }) => {
        if (items.length === 0) return html`<p class="empty">No cell of it was patched exactly.</p>`;
        const largest = [...items].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
        return html`<div class="beside">
          <${Scatter}
            label=${`Exact effect against score of ${count(items.length)} cells of ${row.component}; the table beside it has them`}
            points=${items}
            unit=${job.spec.metric}
            tell=${(cell) => html`<strong>pair ${cell.pair}</strong> <span>score ${number(cell.score)}, effect ${number(cell.effect)}</span>`}
            keys=${[job.job, key, method]}
          />
          <div>
            <p class="muted">
              ${count(items.length)} cells, the largest effect first${row.position === null ? "" : "; at all positions, by the pairs' own tokens"}${more ? `, among the job's first ${count(MOST)} of ${row.site}` : ""}
            </p>
            <${ShortTable} caption=${`Cells of ${row.component}`} columns=${cellColumns(job, row.site)} rows=${largest} />
          </div>
        </div>`;
      }}
    <//>
  </section>`;
}

function cellColumns(job, site) {
  return [
    { key: "pair", title: "pair", header: true, cell: (cell) => html`<a href=${href(["jobs", job.job, "pairs"], { name: cell.pair, site })}>${cell.pair}</a>` },
    { key: "cell", title: "cell", cell: cellName },
    { key: "score", title: "score", number: true, cell: (cell) => number(cell.score) },
    { key: "effect", title: "effect", number: true, cell: (cell) => number(cell.effect) },
    { key: "inclusion", title: "inclusion", number: true, cell: (cell) => number(cell.inclusion) },
  ];
}
