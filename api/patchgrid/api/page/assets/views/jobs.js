import { JOB_STATES } from "../../records.js";
import { useAccess } from "../core/net/access.js";
import { useData } from "../core/net/data.js";
import { shortModel } from "../core/text/format.js";
import { choose, href } from "../core/nav/route.js";
import { useTitle } from "../core/nav/title.js";
import { html } from "../core/ui.js";
import { Choice, Pager, Search } from "../parts/forms/controls.js";
import { Command } from "../parts/copy.js";
import { DataLinks } from "../parts/links.js";
import { Answer } from "../parts/problem.js";
import { Progress, State } from "../parts/progress.js";
import { Table } from "../parts/tables/table.js";
import { Time } from "../parts/time.js";

const EVERY = 2000;

export function Jobs({ params }) {
  useTitle("Jobs");
  const { state, model, search, cursor } = params;
  const asked = { state, model, search, limit: 50, cursor };
  const jobs = useData("v1/jobs", asked, { every: EVERY });
  const narrowed = Boolean(state || model || search || cursor);
  const filter = (changes) => choose({ ...changes, cursor: null });
  return html`<div class="head">
      <h1>Jobs</h1>
      <${DataLinks} path="v1/jobs" params=${asked} what="These jobs" />
    </div>
    <form class="filters" role="search" aria-label="Jobs" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label="State" value=${state ?? ""} options=${[["", "any"], ...JOB_STATES]} onChange=${(value) => filter({ state: value })} />
      <${Search} label="Name" value=${search} onChange=${(value) => filter({ search: value })} />
      <${Search} label="Model" value=${model} onChange=${(value) => filter({ model: value })} />
    </form>
    <${Answer} of=${jobs}>
      ${(data) =>
        html`<${Table} caption="Jobs, newest first" columns=${COLUMNS} rows=${data.items} rowKey=${(job) => job.job} empty=${html`<${Empty} narrowed=${narrowed} />`} />
          <${Pager} next=${data.next} cursor=${cursor} onCursor=${(next) => choose({ cursor: next }, { step: true })} />`}
    <//>`;
}

const COLUMNS = [
  { key: "job", title: "id", number: true, cell: (job) => html`<a href=${href(["jobs", job.job])}>${job.job}</a>` },
  {
    key: "name",
    title: "name",
    header: true,
    cell: (job) => (job.name ? html`<a href=${href(["jobs", job.job])} title=${job.name}>${job.name}</a>` : html`<span class="muted">–</span>`),
  },
  { key: "state", title: "state", cell: (job) => html`<${State} state=${job.state} />` },
  { key: "pairs", title: "pairs", cell: (job) => html`<${Progress} pairs=${job.pairs} label=${`Job ${job.job}`} />` },
  {
    key: "failed",
    title: "failed",
    number: true,
    cell: (job) =>
      job.pairs.failed > 0 ? html`<a href=${href(["jobs", job.job, "pairs"], { state: "failed" })}>${job.pairs.failed}</a>` : html`<span class="muted">0</span>`,
  },
  { key: "model", title: "model", cell: (job) => html`<span title=${job.spec.model}>${shortModel(job.spec.model)}</span>` },
  { key: "sites", title: "sites", cell: (job) => job.spec.sites.join(", ") },
  { key: "method", title: "method", cell: (job) => job.methods.join(", ") },
  { key: "created", title: "submitted", cell: (job) => html`<${Time} at=${job.created_at} />` },
  { key: "by", title: "by", cell: (job) => job.owners.join(", ") || html`<span class="muted">–</span>` },
];

function Empty({ narrowed }) {
  const { may } = useAccess();
  if (narrowed) return html`No job matches. <a href=${href(["jobs"])}>All jobs</a>`;
  return html`<strong>No jobs yet.</strong> ${may("submit") && html`<a href=${href(["submit"])}>Submit a pair file</a> here, or`}
    ${may("submit") ? " use" : "Use"} the command line: <${Command} text="patchgrid submit PAIRS -m MODEL" />`;
}
