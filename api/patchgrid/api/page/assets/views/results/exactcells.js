import { Scatter } from "../../charts/scatter.js";
import { askAll, jobPath } from "../../core/net/api.js";
import { useAnswer, useData } from "../../core/net/data.js";
import { freshness } from "../../core/net/follow.js";
import { count, metricWords, number, percentWithError, withError } from "../../core/text/format.js";
import { wholeName } from "../../core/text/naming.js";
import { go, href } from "../../core/nav/route.js";
import { html } from "../../core/ui.js";
import { DataLinks } from "../../parts/links.js";
import { Answer } from "../../parts/problem.js";
import { Facts, Table } from "../../parts/tables/table.js";

/** Most points drawn at once. */
const MOST = 20_000;
const FURTHEST = 12;

/** A site's exactly patched cells: scatter, fit, and those whose scores are furthest off. */
export function ExactCells({ job, site, method, fit, byLayer }) {
  const path = jobPath(job.job, "exact");
  const cells = useAnswer((signal) => askAll(path, { params: { site, method }, most: MOST, size: MOST, signal }), [path, site, method], {
    fresh: freshness(job),
  });
  return html`<section class="panel wide" aria-label="Score against exact effect">
    <div class="head">
      <h2>${site} by ${method} <span class="muted">score against exact effect, one point per cell</span></h2>
      <${DataLinks} path=${path} params=${{ site, method, limit: MOST }} what="These cells" />
    </div>
    <${Answer} of=${cells}>
      ${({ items, more }) =>
        items.length === 0
          ? html`<p class="empty">No cell of ${site} has been patched exactly yet.</p>`
          : html`<${Drawn} job=${job} site=${site} method=${method} fit=${fit} byLayer=${byLayer} items=${items} more=${more} />`}
    <//>
  </section>`;
}

function Drawn({ job, site, method, fit, byLayer, items, more }) {
  const unit = metricWords(job.spec.metric);
  const part = more ? `${count(items.length)} of ${fit ? count(fit.n) : "more"} cells, the first by pair` : "";
  return html`${part && html`<p class="note">Showing ${part}; the figures are for all cells. The export has every cell.</p>`}
    <div class="beside">
      <${Scatter}
        label=${`Exact effect against score of ${count(items.length)} cells of ${site} by ${method}, ${unit}; the furthest off are in the table beside it`}
        points=${items}
        fit=${fit}
        unit=${unit}
        byLayer=${byLayer}
        tell=${(cell) => html`<${CellTip} cell=${cell} />`}
        words=${cellWords}
        onOpen=${(cell) => go(...componentOf(job, method, cell))}
        keys=${[job.job, site, method]}
      />
      <div>
        ${fit && html`<${Facts} label="Fit" rows=${facts(fit)} />`}
        <${FurthestOff} job=${job} site=${site} method=${method} />
      </div>
    </div>`;
}

/** Of all cells, one a component: the server looks at them all. */
function FurthestOff({ job, site, method }) {
  const path = jobPath(job.job, "furthest");
  const params = { site, method, limit: FURTHEST };
  const found = useData(path, params, { fresh: freshness(job) });
  return html`<div class="head"><h3>Furthest off</h3><${DataLinks} path=${path} params=${params} what="Furthest off" /></div>
    <${Answer} of=${found}>
      ${({ items }) => html`<${Table} caption="Cells whose score is furthest from the effect, one per component" columns=${columns(job, site, method)} rows=${items} />`}
    <//>`;
}

/** Where a cell's component is shown, at all positions at once. */
function componentOf(job, method, cell) {
  return [["jobs", job.job, "components", wholeName(cell)], { site: cell.site, method: job.methods.length > 1 ? method : null }];
}

function cellWords(cell) {
  return `${cell.component}, pair ${cell.pair}: score ${number(cell.score)}, exact effect ${number(cell.effect)}`;
}

function CellTip({ cell }) {
  return html`<strong>${cell.component}</strong> <span class="muted">pair ${cell.pair}</span>
    <dl>
      <div><dt>score</dt><dd>${number(cell.score)}</dd></div>
      <div><dt>exact effect</dt><dd>${number(cell.effect)}</dd></div>
      <div><dt>inclusion</dt><dd>${number(cell.inclusion)}</dd></div>
    </dl>`;
}

function facts(fit) {
  return [
    ["n", count(fit.n)],
    ["r", withError(fit.pearson, fit.pearson_se)],
    ["Spearman", withError(fit.spearman, fit.spearman_se)],
    ["fit", `effect = ${number(fit.slope)} × score ${fit.intercept < 0 ? "−" : "+"} ${number(Math.abs(fit.intercept))}`],
    ["same sign", percentWithError(fit.sign_agreement, fit.sign_agreement_se)],
    ["bias", withError(fit.bias, fit.bias_se)],
  ];
}

function columns(job, site, method) {
  return [
    {
      key: "component",
      title: "component",
      header: true,
      cell: (cell) => html`<a href=${href(...componentOf(job, method, cell))}>${cell.component}</a>`,
    },
    { key: "pair", title: "pair", cell: (cell) => html`<a href=${href(["jobs", job.job, "pairs"], { name: cell.pair, site })}>${cell.pair}</a>` },
    { key: "score", title: "score", number: true, cell: (cell) => number(cell.score) },
    { key: "effect", title: "effect", number: true, cell: (cell) => number(cell.effect) },
  ];
}
