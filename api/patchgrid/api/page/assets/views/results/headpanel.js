import { Grid } from "../../charts/grid.js";
import { jobPath } from "../../core/net/api.js";
import { isPatched } from "../../core/text/budget.js";
import { isClear } from "../../core/text/bounds.js";
import { count, metricWords } from "../../core/text/format.js";
import { go } from "../../core/nav/route.js";
import { hasHeads, SITE_WORDS } from "../../core/text/sites.js";
import { html } from "../../core/ui.js";
import { componentWords, ComponentTip } from "../../parts/tables/componenttip.js";
import { GridTable } from "../../parts/tables/gridtable.js";
import { DataLinks } from "../../parts/links.js";
import { Unmeasured } from "../../parts/forms/method.js";
import { Answer } from "../../parts/problem.js";

const WORDS = { estimate: "estimated effect", mean: "mean score", mean_abs: "mean |score|" };

/** One heatmap: the heads of a site, or some sites without heads side by side. */
export function HeadPanel({ job, method, panel, measure, stretched, rows }) {
  const heads = panel.sites.length === 1 && hasHeads(panel.sites[0]);
  return html`<section class="panel" aria-label=${panel.title}>
    <div class="head">
      <h2>${panel.title} ${heads && html`<span class="muted">${SITE_WORDS[panel.title]}</span>`}</h2>
      ${panel.sites.map(
        (site) => html`<span class="pair">${!heads && html`<span class="muted">${site}</span>`} <${DataLinks} path=${jobPath(job.job, "components")} params=${{ site, method, kind: "whole", limit: 10_000 }} what=${`Components of ${site}`} /></span>`,
      )}
    </div>
    <${Answer} of=${rows}>
      ${(all) => (all.length === 0 ? html`<${Unmeasured} job=${job} />` : html`<${Drawn} job=${job} method=${method} panel=${panel} heads=${heads} all=${all} asked=${measure} stretched=${stretched} />`)}
    <//>
  </section>`;
}

function Drawn({ job, method, panel, heads, all, asked, stretched }) {
  // Each cell shows its estimate, or its mean score where it has none.
  const known = all.filter((row) => row.estimate !== null).length;
  const measure = asked || (known > 0 ? "estimate" : "mean");
  const mixed = !asked && known > 0 && known < all.length;
  const layers = range(all, "layer");
  const columns = heads ? range(all, "head") : panel.sites;
  const cells = all.map((row) => ({
    row: row.layer,
    column: heads ? row.head : panel.sites.indexOf(row.site),
    value: row[measure] ?? (mixed ? row.mean : null),
    guess: mixed && row.estimate === null,
    clear: measure === "estimate" && isClear(row),
    of: row,
  }));
  const open = (cell) => go(["jobs", job.job, "components", cell.of.component], { site: cell.of.site, method: job.methods.length > 1 ? method : null });
  const label = `${WORDS[measure]} of ${panel.sites.join(", ")} by layer and ${heads ? "head" : "site"}, ${metricWords(job.spec.metric)}`;
  const why = mixed
    ? `A stroke marks mean scores of components without exact cells (${count(all.length - known)} of ${count(all.length)}).`
    : measure === "mean" && !asked && isPatched(job) && "Mean scores: nothing has been patched exactly yet.";
  return html`${why && html`<p class="muted">${why}</p>`}
    <${Grid}
      label=${label}
      rows=${layers}
      columns=${columns}
      cells=${cells}
      stretched=${stretched}
      columnTitle=${heads ? "head" : null}
      legend=${[WORDS[measure], `(${metricWords(job.spec.metric)})`]}
      none="no estimate, because no cell was patched exactly"
      tell=${(cell) => html`<${ComponentTip} row=${cell.of} />`}
      words=${(cell) => componentWords(cell.of)}
      onOpen=${open}
      keys=${[job.job, panel.sites, method, measure, cells.map((cell) => cell.value)]}
    />
    <${GridTable} caption=${label} corner="layer" rows=${layers} columns=${columns} cells=${cells} />`;
}

function range(rows, field) {
  return Array.from({ length: 1 + Math.max(...rows.map((row) => row[field])) }, (_, index) => index);
}
