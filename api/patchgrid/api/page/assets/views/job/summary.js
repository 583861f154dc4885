import { address, jobPath } from "../../core/net/api.js";
import { ENDED_JOBS } from "../../../records.js";
import { budgetWords, isPatched } from "../../core/text/budget.js";
import { count, number, seconds } from "../../core/text/format.js";
import { href } from "../../core/nav/route.js";
import { html } from "../../core/ui.js";
import { Command, Copy } from "../../parts/copy.js";
import { DataLinks } from "../../parts/links.js";
import { reached } from "../../parts/progress.js";
import { Facts, Table } from "../../parts/tables/table.js";
import { Time } from "../../parts/time.js";
import { Actions } from "./actions.js";
import { Provenance } from "./provenance.js";
import { Refine } from "./refine.js";
import { Refinements } from "./refinements.js";

const EXPORTS = ["components", "pairs", "scores", "exact"];

export function Summary({ job, snapshot, rate, reload }) {
  const running = !ENDED_JOBS.includes(job.state);
  return html`<${Status} job=${job} snapshot=${snapshot} rate=${rate} running=${running} />
    <${Actions} job=${job} reload=${reload} />
    <${Refine} job=${job} reload=${reload} />
    <${Refinements} job=${job} latest=${job.refinement} />
    ${job.error && html`<p class="problem" role="alert">${job.error}</p>`}
    <${LoadFailures} failures=${job.load_failures ?? []} />
    ${job.warnings?.length > 0 && html`<${Warnings} warnings=${job.warnings} />`}
    <div class="columns">
      <section aria-labelledby="spec">
        <div class="head"><h2 id="spec">Spec</h2><${DataLinks} path=${jobPath(job.job)} what="This job" csv=${false} /></div>
        <${Facts} label="Spec" rows=${specRows(job)} />
      </section>
      <${Provenance} made=${job.provenance ?? []} />
    </div>
    <${Exports} job=${job} />`;
}

function Status({ job, snapshot, rate, running }) {
  const { total, done, failed, skipped } = job.pairs;
  const through = reached(job.pairs);
  const left = total - through;
  const names = snapshot?.workers ?? (job.workers ?? []).map((worker) => worker.name);
  const serving = snapshot?.serving ?? job.serving;
  const took = job.started_at && job.finished_at ? job.finished_at - job.started_at : null;
  const speed = running ? rate : took && through / took;
  return html`<section class="status" aria-label="Progress">
    <progress max="1" value=${total ? through / total : 0} aria-label="Pairs measured" />
    <div class="tiles">
      <${Tile} name=${running && job.rounds > 0 ? `pairs done in round ${job.rounds}` : "pairs done"} value=${count(done)} of=${count(total)} />
      <${Tile}
        name="failed"
        value=${failed > 0 ? html`<a href=${href(["jobs", job.job, "pairs"], { state: "failed" })}>${count(failed)}</a>` : "0"}
      />
      ${skipped > 0 && html`<${Tile} name="skipped" value=${html`<a href=${href(["jobs", job.job, "pairs"], { state: "skipped" })}>${count(skipped)}</a>`} />`}
      <${Tile} name="pairs/s" value=${speed ? number(speed) : "–"} />
      <${Tile} name=${running ? "time left" : "took"} value=${running ? (rate > 0 ? seconds(left / rate) : "–") : seconds(took)} />
      <${Tile} name="chunks done" value=${count(job.chunks.done)} of=${count(Object.values(job.chunks).reduce((sum, each) => sum + each, 0))} />
      ${running && html`<${Tile} name="workers" value=${count(names.length)} of=${`${count(serving)} serving`} title=${names.join(", ")} />`}
    </div>
    ${running && names.length > 0 && html`<p class="muted">Working on it: ${names.join(", ")}</p>`}
    ${["pending", "running"].includes(job.state) && names.length === 0 && html`<${Unserved} job=${job} serving=${serving} />`}
    ${
      (job.troubles?.retried || job.troubles?.split) > 0 &&
      html`<p class="note">Chunks retried: ${job.troubles.retried}; split to find a pair that kills its worker: ${job.troubles.split}</p>`
    }
    <p class="muted">
      Submitted <${Time} at=${job.created_at} />${job.owners.length > 0 ? ` by ${job.owners.join(", ")}` : ""}${job.started_at && html`, started <${Time} at=${job.started_at} />`}${
        job.finished_at && html`, ended <${Time} at=${job.finished_at} />`
      }
    </p>
  </section>`;
}

/** Why nothing of a job happens now, and what to do. */
function Unserved({ job, serving }) {
  if (job.chunks.leased > 0) {
    return html`<p class="note">No worker is working on it: its chunks are leased to a process that is not a worker (patchgrid run), or to a lost one.</p>`;
  }
  if (serving > 0) return null;
  return html`<p class="note">No worker serves this model, so the job makes no progress. Start one on the same database: <${Command} text=${`patchgrid worker start --model ${quoted(job.spec.model)}`} /></p>`;
}

/** A word as a shell takes it. */
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, "'\\''")}'`;
}

function Tile({ name, value, of, title }) {
  return html`<div class="tile" title=${title}>
    <span class="value">${value}${of !== undefined && html`<span class="muted"> / ${of}</span>`}</span>
    <span class="name">${name}</span>
  </div>`;
}

function specRows(job) {
  const { sites, ...rest } = job.spec;
  return [
    ...Object.entries({ model: rest.model, revision: rest.revision, sites: sites.join(", "), method: job.methods.join(", ") }),
    ...Object.entries(rest).filter(([name]) => !["model", "revision", "method"].includes(name)),
    ["spans", job.spans.join(", ")],
    ["groups", job.groups],
    ["chunk size", job.chunk_size],
    ["priority", job.priority],
    ["key", html`<code class="long">${job.key}</code><${Copy} text=${job.key} what="the job's key" />`],
  ]
    .filter(([name]) => name !== "exact_per_component")
    .map(([name, value]) => (name === "exact" ? ["patched exactly", budgetWords(rest)] : [name.replace(/_/g, " "), plain(value)]));
}

function plain(value) {
  return typeof value === "boolean" ? (value ? "yes" : "no") : value;
}

function LoadFailures({ failures }) {
  if (failures.length === 0) return null;
  const columns = [
    { key: "worker", title: "worker", header: true, cell: (row) => row.worker },
    { key: "error", title: "error", wrap: true, cell: (row) => row.error },
    { key: "attempts", title: "attempts", number: true, cell: (row) => row.attempts },
    { key: "at", title: "last", cell: (row) => html`<${Time} at=${row.failed_at} />` },
  ];
  return html`<section class="problem" aria-labelledby="load-failures">
    <h2 id="load-failures">Workers that cannot load the model</h2>
    <${Table} caption="Load failures" columns=${columns} rows=${failures} />
  </section>`;
}

function Warnings({ warnings }) {
  return html`<section class="note" aria-labelledby="warnings">
    <h2 id="warnings">Warnings</h2>
    <ul>
      ${warnings.map((each) => html`<li>${each.warning} <span class="muted">(pairs: ${count(each.pairs)})</span></li>`)}
    </ul>
  </section>`;
}

function Exports({ job }) {
  const method = job.methods.length > 1 ? job.methods : [null];
  return html`<section aria-labelledby="exports">
    <h2 id="exports">Export</h2>
    <ul class="exports">
      ${EXPORTS.filter((what) => what !== "exact" || isPatched(job))
        .filter((what) => what !== "scores" || job.spec.detail !== "summary")
        .flatMap((what) =>
          (what === "pairs" ? [null] : method).map(
            (each) => html`<li>
              <span>${what}${each ? ` by ${each}` : ""}</span>
              ${["jsonl", "csv", "parquet"].map(
                (format) =>
                  html`<a href=${address(jobPath(job.job, "export"), { what, format, method: each })} download aria-label=${`${what}${each ? ` by ${each}` : ""} as ${format}`}>${format}</a> `,
              )}
            </li>`,
          ),
        )}
    </ul>
  </section>`;
}
