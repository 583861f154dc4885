import { useData } from "../core/net/data.js";
import { bytes, count, number, seconds, shortModel } from "../core/text/format.js";
import { choose, href } from "../core/nav/route.js";
import { useTitle } from "../core/nav/title.js";
import { html } from "../core/ui.js";
import { Check } from "../parts/forms/controls.js";
import { Command } from "../parts/copy.js";
import { DataLinks } from "../parts/links.js";
import { Answer } from "../parts/problem.js";
import { Table } from "../parts/tables/table.js";
import { Time } from "../parts/time.js";

const EVERY = 2000;

export function Workers({ params }) {
  useTitle("Workers");
  const workers = useData("v1/workers", {}, { every: EVERY });
  const queue = useData("v1/queue", {}, { every: EVERY });
  const all = params.all === "yes";
  return html`<h1>Workers and queue</h1>
    <section aria-labelledby="queue-heading">
      <div class="head"><h2 id="queue-heading">Queue</h2><${DataLinks} path="v1/queue" what="The queue" /></div>
      <${Answer} of=${queue}>
        ${(data) => html`<${Table} caption="Chunks by model" columns=${QUEUE} rows=${data.items} rowKey=${(row) => row.model} empty="No chunk is pending." />`}
      <//>
    </section>
    <section aria-labelledby="workers-heading">
      <div class="head">
        <h2 id="workers-heading">Workers</h2>
        <${Check} label="Include stopped workers" checked=${all} onChange=${(on) => choose({ all: on ? "yes" : null })} />
        <${DataLinks} path="v1/workers" what="Workers" />
      </div>
      <${Answer} of=${workers}>
        ${(data) =>
          html`<${Table}
            caption="All workers"
            columns=${WORKERS}
            rows=${data.items.filter((worker) => all || worker.state !== "stopped")}
            rowKey=${(worker) => worker.id}
            empty=${html`<strong>No worker is running.</strong> Start one on the same database: <${Command} text="patchgrid worker start --model MODEL" />`}
          />`}
      <//>
    </section>`;
}

const QUEUE = [
  { key: "model", title: "model", header: true, cell: (row) => html`<span title=${row.model}>${shortModel(row.model)}</span>` },
  { key: "pending", title: "chunks pending", number: true, cell: (row) => count(row.pending) },
  { key: "leased", title: "leased", number: true, cell: (row) => count(row.leased) },
  { key: "held", title: "paused", number: true, cell: (row) => count(row.held) },
  { key: "oldest", title: "oldest pending", number: true, cell: (row) => seconds(row.oldest_seconds) },
];

function state(worker) {
  if (worker.lost) return html`<span class="state state-failed" title="No heartbeat">lost</span>`;
  const kind = { stopped: "cancelled", idle: "pending" }[worker.state] ?? "running";
  return html`<span class=${`state state-${kind}`} title=${worker.message ?? ""}>${worker.state}${worker.drain ? ", draining" : ""}</span>`;
}

function memory(worker) {
  if (worker.memory_used === null) return html`<span class="muted">–</span>`;
  return html`${bytes(worker.memory_used)}${worker.memory_total ? html`<span class="muted"> / ${bytes(worker.memory_total)}</span>` : ""}`;
}

function trouble(worker) {
  const parts = [
    worker.lease_losses > 0 && `leases lost: ${worker.lease_losses}`,
    worker.takeovers > 0 && `taken over: ${worker.takeovers}`,
    ...Object.entries(worker.failures ?? {}).map(([kind, pairs]) => `${kind}: ${pairs}`),
  ];
  return parts.filter(Boolean).join(", ");
}

const WORKERS = [
  { key: "name", title: "name", header: true, cell: (worker) => html`<span title=${`process ${worker.pid} on ${worker.host}`}>${worker.name}</span>` },
  { key: "state", title: "state", cell: state },
  { key: "device", title: "device", cell: (worker) => worker.device },
  {
    key: "models",
    title: "models",
    cell: (worker) => html`<span title=${`serves: ${worker.models.join(", ")}\nloaded: ${worker.loaded.join(", ")}`}>${worker.models.map(shortModel).join(", ")}</span>`,
  },
  { key: "job", title: "job", number: true, cell: (worker) => (worker.job_id ? html`<a href=${href(["jobs", worker.job_id])}>${worker.job_id}</a>` : html`<span class="muted">–</span>`) },
  { key: "speed", title: "pairs/s", number: true, cell: (worker) => number(worker.pairs_per_second) },
  { key: "memory", title: "memory", number: true, cell: memory },
  { key: "pairs", title: "pairs", number: true, cell: (worker) => count(worker.pairs) },
  { key: "seen", title: "last seen", cell: (worker) => html`<${Time} at=${worker.seen_at} />` },
  { key: "started", title: "started", cell: (worker) => html`<${Time} at=${worker.started_at} />` },
  { key: "trouble", title: "trouble", wrap: true, cell: (worker) => [worker.message, trouble(worker)].filter(Boolean).join("; ") },
];
