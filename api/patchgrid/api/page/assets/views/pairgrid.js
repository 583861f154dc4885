import { Grid } from "../charts/grid.js";
import { metricWords, number, scaled } from "../core/format.js";
import { choose } from "../core/route.js";
import { html } from "../core/ui.js";
import { GridTable } from "../parts/gridtable.js";
import { visible } from "../parts/tokens.js";

/** One pair's scores: layer by token where positions were kept, layer by head where there are heads. */
export function PairGrid({ job, data, site, grid, heads, head, stretched }) {
  return html`<div class="panels">
    ${grid && html`<${ByToken} job=${job} data=${data} site=${site} grid=${grid} head=${head} stretched=${stretched} />`}
    ${heads && html`<${ByHead} job=${job} data=${data} site=${site} heads=${heads} stretched=${stretched} />`}
  </div>`;
}

function ByToken({ job, data, site, grid, head, stretched }) {
  const labels = data.tokens.map((token, place) => {
    const other = data.corrupted_tokens[place];
    return token === other ? visible(token) : `${visible(token)}/${visible(other ?? "")}`;
  });
  const columns = labels.map((label, place) => `${place} ${label}`);
  const cells = grid.flatMap((values, row) => values.map((value, column) => ({ row, column, value })));
  const what = head === null ? site : `${site}, head ${head}`;
  const label = `Score of ${what} by layer and token of pair ${data.pair}`;
  const words = (cell) => `layer ${cell.row}, token ${columns[cell.column]}: score ${number(cell.value)}`;
  return html`<section class="panel wide" aria-label="Layer by token">
    <h3>Layer × token <span class="muted">${what}${head === null && Array.isArray(data.scores[site][0][0]) ? ", summed over heads" : ""}</span></h3>
    <${Drawn} job=${job} stretched=${stretched} label=${label} grid=${grid} columns=${columns} columnTitle="token, clean/corrupted where they differ" cells=${cells} words=${words} onOpen=${(cell) => choose({ layer: cell.row })} keys=${[job.job, data.row, data.method, site, head]} />
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

function Drawn({ job, stretched, label, grid, columns, columnTitle, cells, words, onOpen, keys }) {
  const rows = grid.map((_, layer) => layer);
  return html`<${Grid} label=${label} stretched=${stretched} rows=${rows} columns=${columns} columnTitle=${columnTitle} legend=${["score", `(${metricWords(job.spec.metric)})`]} cells=${cells} tell=${words} words=${words} onOpen=${onOpen} keys=${keys} />
    <${GridTable} caption=${label} corner="layer" rows=${rows} columns=${columns} cells=${cells} write=${scaled(cells.map((cell) => cell.value))} />`;
}
