import { Grid } from "../../charts/grid.js";
import { labelled } from "../../charts/gridspec.js";
import { metricWords, number } from "../../core/text/format.js";
import { choose } from "../../core/nav/route.js";
import { html } from "../../core/ui.js";
import { GridTable } from "../../parts/tables/gridtable.js";
import { visible } from "../../parts/tables/tokens.js";

/**
 * One pair: layer by token where positions were kept, scores and exact effects; layer by head where there are heads.
 *
 * The first `folded` tokens are hidden.
 */
export function PairGrid({ job, data, site, grid, folded, heads, exact, head, stretched }) {
  return html`<div class="panels">
    ${grid && html`<${ByToken} job=${job} data=${data} site=${site} grid=${grid} folded=${folded} head=${head} stretched=${stretched} />`}
    ${exact && html`<${Exact} job=${job} data=${data} site=${site} exact=${exact} folded=${folded} stretched=${stretched} />`}
    ${heads && html`<${ByHead} job=${job} data=${data} site=${site} heads=${heads} stretched=${stretched} />`}
  </div>`;
}

const TOKENS = "token, clean/corrupted where they differ";

function tokenLabels(data) {
  return data.tokens.map((token, place) => {
    const other = data.corrupted_tokens[place];
    return `${labelled(place - data.tokens.length)} ${token === other ? visible(token) : `${visible(token)}/${visible(other ?? "")}`}`;
  });
}

/** The grid without its first columns. */
function without(folded, columns, grid) {
  return { columns: columns.slice(folded), grid: grid.map((values) => values.slice(folded)) };
}

function ByToken({ job, data, site, grid: whole, folded, head, stretched }) {
  const { columns, grid } = without(folded, tokenLabels(data), whole);
  const cells = grid.flatMap((values, row) => values.map((value, column) => ({ row, column, value })));
  const what = head === null ? site : `${site}, head ${head}`;
  const label = `Score of ${what} by layer and token of pair ${data.pair}`;
  const words = (cell) => `layer ${cell.row}, token ${columns[cell.column]}: score ${number(cell.value)}`;
  return html`<section class="panel wide" aria-label="Layer by token">
    <h3>Layer × token <span class="muted">${what}${head === null && Array.isArray(data.scores[site][0][0]) ? ", summed over heads" : ""}</span></h3>
    <${Drawn} job=${job} stretched=${stretched} label=${label} grid=${grid} columns=${columns} columnTitle=${TOKENS} atEnd cells=${cells} words=${words} onOpen=${(cell) => choose({ layer: cell.row })} keys=${[job.job, data.row, data.method, site, head]} />
  </section>`;
}

function Exact({ job, data, site, exact, folded, stretched }) {
  const labels = exact.spans ? exact.columns : tokenLabels(data);
  const { columns, grid } = without(exact.spans ? 0 : folded, labels, exact.values);
  const cells = grid.flatMap((values, row) => values.map((value, column) => ({ row, column, value })));
  const name = exact.spans ? "span" : "token";
  const label = `Exact effect of ${site} by layer and ${name} of pair ${data.pair}`;
  const words = (cell) => `layer ${cell.row}, ${name} ${columns[cell.column]}: ${cell.value === null ? "not patched" : `exact effect ${number(cell.value)}`}`;
  return html`<section class="panel wide" aria-label="Exact effects by layer">
    <h3>Layer × ${name}, patched exactly <span class="muted">${site}</span></h3>
    <${Drawn} job=${job} stretched=${stretched} label=${label} grid=${grid} columns=${columns} columnTitle=${exact.spans ? name : TOKENS} what="exact effect" none="not patched" atEnd=${!exact.spans} cells=${cells} words=${words} keys=${[job.job, data.row, site, "exact"]} />
  </section>`;
}

function ByHead({ job, data, site, heads, stretched }) {
  const columns = heads[0].map((_, head) => head);
  const cells = heads.flatMap((values, row) => values.map((value, column) => ({ row, column, value })));
  const label = `Score of ${site} by layer and head of pair ${data.pair}`;
  const words = (cell) => `layer ${cell.row}, head ${cell.column}: score ${number(cell.value)}`;
  return html`<section class="panel" aria-label="Layer by head">
    <h3>Layer × head <span class="muted">${site}, over all positions</span></h3>
    <${Drawn} job=${job} stretched=${stretched} label=${label} grid=${heads} columns=${columns} columnTitle="head" cells=${cells} words=${words} onOpen=${(cell) => choose({ layer: cell.row, head: cell.column })} keys=${[job.job, data.row, data.method, site]} />
  </section>`;
}

function Drawn({ job, stretched, label, grid, columns, columnTitle, what = "score", none, atEnd = false, cells, words, onOpen, keys }) {
  const rows = grid.map((_, layer) => layer);
  return html`<${Grid}
      label=${label}
      stretched=${stretched}
      rows=${rows}
      columns=${columns}
      columnTitle=${columnTitle}
      legend=${[what, `(${metricWords(job.spec.metric)})`]}
      none=${none}
      atEnd=${atEnd}
      cells=${cells}
      tell=${words}
      words=${words}
      onOpen=${onOpen}
      keys=${keys}
    />
    <${GridTable} caption=${label} corner="layer" rows=${rows} columns=${columns} cells=${cells}/>`;
}
