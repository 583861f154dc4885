import { Scatter } from "../charts/scatter.js";
import { askFor, jobPath } from "../core/api.js";
import { domainOf, intervalWords } from "../core/bounds.js";
import { useAnswer } from "../core/data.js";
import { freshness } from "../core/follow.js";
import { count, metricWords, number } from "../core/format.js";
import { cellName } from "../core/naming.js";
import { go, href } from "../core/route.js";
import { componentKey, isWide, SITE_WORDS } from "../core/sites.js";
import { html, useState } from "../core/ui.js";
import { Interval } from "../parts/interval.js";
import { DataLinks } from "../parts/links.js";
import { methodOf } from "../parts/method.js";
import { Answer } from "../parts/problem.js";
import { ShortTable } from "../parts/shorttable.js";
import { Table } from "../parts/table.js";

/** Most rows that the server gives at once: of components, and of cells. */
const ROWS = 10_000;
const CELLS = 20_000;
/** Cells of a site that are looked through for a component's, unless more are asked for. */
const LOOKED = 5 * CELLS;

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
          <div class="head"><h3>By method</h3><${DataLinks} path=${path} params=${{ site, method, limit: ROWS }} what=${`Components of ${site}`} /></div>
          <${Table} caption=${`${name} by method`} columns=${methodColumns(domainOf(rows))} rows=${rows.filter((row) => row.site === site)} />
          ${job.spec.exact > 0 && html`<${Cells} job=${job} row=${rows[0]} method=${method} />`}`;
      }}
    <//>`;
}

/** The row of that name, whichever positions; of a site of very many, the strongest are looked at first. */
async function rowsOf(path, name, { site, method }, signal) {
  const kind = name.includes("@") ? "aligned" : "whole";
  const params = { site, method, kind, by: isWide(site) ? "estimate" : null };
  const { items } = await askFor(path, { params, wanted: (row) => row.component === name, enough: 1, size: ROWS, signal });
  return items.map((row) => ({ ...row, method }));
}

function methodColumns(domain) {
  return [
    { key: "method", title: "method", header: true, cell: (row) => row.method },
    { key: "estimate", title: "estimate", number: true, cell: (row) => number(row.estimate) },
    { key: "drawn", title: "drawn", cell: (row) => html`<${Interval} row=${row} domain=${domain} />` },
    { key: "interval", title: "95 % interval", number: true, cell: intervalWords },
    { key: "mean", title: "mean score", number: true, cell: (row) => number(row.mean) },
    { key: "mean_abs", title: "mean |score|", number: true, cell: (row) => number(row.mean_abs) },
    { key: "std", title: "std", number: true, cell: (row) => number(row.std) },
    { key: "exact_n", title: "exact", number: true, cell: (row) => count(row.exact_n) },
    { key: "n", title: "pairs", number: true, cell: (row) => count(row.n) },
  ];
}

function Cells({ job, row, method }) {
  const [most, setMost] = useState(LOOKED);
  const path = jobPath(job.job, "exact");
  const key = componentKey(row);
  const total = row.position === null && row.exact_n > 0 ? row.exact_n : null;
  const cells = useAnswer(
    (signal) => {
      const wanted = (cell) => componentKey(cell) === key;
      return askFor(path, { params: { site: row.site, method }, wanted, enough: total ?? Infinity, most, size: CELLS, signal });
    },
    [path, key, method, most],
    { fresh: freshness(job) },
  );
  return html`<section class="panel wide" aria-labelledby="cells">
    <div class="head">
      <h3 id="cells">Patched exactly <span class="muted">by ${method}</span></h3>
      <${DataLinks} path=${path} params=${{ site: row.site, method, limit: CELLS }} what=${`Cells of ${row.site}`} />
    </div>
    <${Answer} of=${cells}>
      ${({ items, looked, more }) => html`<${CellCount} shown=${items.length} total=${total} row=${row} looked=${looked} more=${more} onMore=${() => setMost(5 * most)} />
        ${items.length > 0 && html`<${CellsDrawn} job=${job} row=${row} method=${method} items=${items} />`}`}
    <//>
  </section>`;
}

/** How many of the component's cells there are here, and where the others are. */
function CellCount({ shown, total, row, looked, more, onMore }) {
  if (shown === 0 && !more) return html`<p class="empty">No cell of it was patched exactly.</p>`;
  const where = row.position === null ? "" : "; at all positions, by the pairs' own tokens";
  return html`<p class="muted" role="status">
    ${total !== null && more ? `${count(shown)} of ${count(total)} cells` : `${count(shown)} cells`}, the largest effect first${where}${
      more ? html`. Looked through are the first ${count(looked)} cells of ${row.site}. <button type="button" onClick=${onMore}>Look on</button>` : ""
    }
  </p>`;
}

function CellsDrawn({ job, row, method, items }) {
  const largest = [...items].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  const words = (cell) => `pair ${cell.pair}, ${cellName(cell)}: score ${number(cell.score)}, exact effect ${number(cell.effect)}`;
  return html`<div class="beside">
    <${Scatter}
      label=${`Exact effect against score of ${count(items.length)} cells of ${row.component}; the table beside it has them`}
      points=${items}
      unit=${metricWords(job.spec.metric)}
      tell=${(cell) => html`<strong>pair ${cell.pair}</strong> <span>score ${number(cell.score)}, effect ${number(cell.effect)}</span>`}
      words=${words}
      onOpen=${(cell) => go(["jobs", job.job, "pairs"], { name: cell.pair, site: row.site, method })}
      keys=${[job.job, componentKey(row), method]}
    />
    <div><${ShortTable} caption=${`Cells of ${row.component}`} columns=${cellColumns(job, row)} rows=${largest} /></div>
  </div>`;
}

function cellColumns(job, { site, position }) {
  return [
    { key: "pair", title: "pair", header: true, cell: (cell) => html`<a href=${href(["jobs", job.job, "pairs"], { name: cell.pair, site })}>${cell.pair}</a>` },
    (position !== null || job.spec.positions === "keep") && { key: "cell", title: "cell", cell: cellName },
    { key: "score", title: "score", number: true, cell: (cell) => number(cell.score) },
    { key: "effect", title: "effect", number: true, cell: (cell) => number(cell.effect) },
    { key: "inclusion", title: "inclusion", number: true, cell: (cell) => number(cell.inclusion) },
  ].filter(Boolean);
}
