import { address, ask, jobPath } from "../../core/net/api.js";
import { isUnbounded } from "../../core/text/bounds.js";
import { useAnswer, useKept } from "../../core/net/data.js";
import { freshness } from "../../core/net/follow.js";
import { count, coverageWords, metricWords, number, percent } from "../../core/text/format.js";
import { choose } from "../../core/nav/route.js";
import { html } from "../../core/ui.js";
import { Check, Choice, Pager, Search } from "../../parts/forms/controls.js";
import { DataLinks } from "../../parts/links.js";
import { EstimatorChoice, estimatorOf, methodOf, Unmeasured } from "../../parts/forms/method.js";
import { Answer } from "../../parts/problem.js";
import { Table } from "../../parts/tables/table.js";
import { columns, orderOf } from "./componentcolumns.js";
import { GroupSpread } from "./groups.js";

const PAGE = 100;
/** Most rows of a file: the server's bound. */
const MOST = 10_000;
const KINDS = [
  ["", "as the job measures"],
  ["whole", "all positions at once"],
  ["aligned", "by position"],
];

/** The components with their estimates and intervals, searched and sorted by the server; the strongest first. */
export function Components({ job, params }) {
  const method = estimatorOf(job, params);
  const { site = "", kind = "", interval = "", search = "", sort = "estimate", order = "down", cursor } = params;
  const { together = "", above = "" } = params;
  const among = { site, kind, method, interval: interval || null, simultaneous: together || null, effect_above: sizeOf(above) };
  const asked = { ...among, search, ...orderOf(sort, order !== "up") };
  const path = jobPath(job.job, "components");
  const rows = useKept(useAnswer((signal) => look(path, asked, among, cursor, signal), [path, asked, cursor], { fresh: freshness(job) }));
  const filter = (changes) => choose({ ...changes, cursor: null, from: null });
  return html`<form class="filters" role="search" aria-label="Components" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label="Site" value=${site} options=${[["", "all"], ...job.spec.sites]} onChange=${(value) => filter({ site: value })} />
      <${EstimatorChoice} job=${job} params=${params} />
      <${Choice} label="Components" value=${kind} options=${KINDS} onChange=${(value) => filter({ kind: value })} />
      <${Search} label="Name" value=${search} placeholder="a9.h6" onChange=${(value) => filter({ search: value })} />
      <${Check} label="Draw intervals" checked=${params.drawn !== "no"} onChange=${(on) => choose({ drawn: on ? null : "no" })} />
      <${Check}
        label="Intervals for these pairs"
        hint="For this job's pairs alone, not for the population that they are a sample of; narrower"
        checked=${interval === "pairs"}
        onChange=${(on) => filter({ interval: on ? "pairs" : null })}
      />
      <${Check}
        label="All at once"
        hint="Intervals that hold for all listed components together, not for each one alone; wider"
        checked=${together === "true"}
        onChange=${(on) => filter({ together: on ? "true" : null })}
      />
      <${Search} label="Effect above" value=${above} placeholder="0.1" onChange=${(value) => filter({ above: value })} />
      <${DataLinks} path=${path} params=${{ ...asked, limit: MOST }} what="Components" />
    </form>
    <div aria-busy=${rows.kept ? "true" : undefined}>
      <${Answer} of=${rows}>${(data) => html`<${Found} job=${job} data=${data} params=${params} filter=${filter} />`}<//>
    </div>`;
}

/** A size that mean effects are to exceed, or null. */
function sizeOf(text) {
  const size = Number(text);
  return text.trim() !== "" && size >= 0 ? size : null;
}

/** A page of them, and of a search, `all`: how many it was made among. */
async function look(path, asked, among, cursor, signal) {
  const [page, whole] = await Promise.all([
    ask(path, { params: { ...asked, limit: PAGE, cursor }, signal }),
    asked.search ? ask(path, { params: { ...among, limit: 1 }, signal }) : null,
  ]);
  return { ...page, all: whole ? whole.total : page.total, searched: Boolean(asked.search) };
}

function Found({ job, data, params, filter }) {
  const { sort = "estimate", order = "down", cursor, from } = params;
  if (data.all === 0 && data.effect_above === null) return html`<${Unmeasured} job=${job} />`;
  const start = cursor ? Number(from) || 0 : 0;
  const page = (next) => choose({ cursor: next, from: next && start + data.items.length }, { step: true });
  return html`<${Reach} job=${job} data=${data} start=${start} method=${params.method} interval=${params.interval} />
    <${Table}
      caption="Components"
      columns=${columns(job, params.method, data.items, params.drawn !== "no")}
      rows=${data.items}
      rowKey=${(row) => `${row.site}/${row.component}`}
      sort=${{ by: sort, down: order !== "up" }}
      onSort=${(by, down) => filter({ sort: by === "estimate" ? null : by, order: down ? null : "up" })}
      empty="No component matches."
    />
    ${
      data.effect_above !== null &&
      html`<p class="muted">Components whose mean effect exceeds ${number(data.effect_above)} ${metricWords(job.spec.metric)} in size; on average ${percent(data.fdr)} of such a list is wrong (Benjamini-Hochberg).</p>`
    }
    ${data.items.some(isUnbounded) && html`<p class="muted"><em>no bound</em>: too few cells, too unevenly weighted, for a useful interval. JSON, CSV and exports have the numbers.</p>`}
    <${Pager} next=${data.next} cursor=${cursor} onCursor=${page} />
    ${!cursor && !params.search && html`<${GroupSpread} job=${job} site=${params.site} method=${methodOf(job, params)} />`}`;
}

/** Which these are of how many, and where the others are. */
function Reach({ job, data, start, method, interval }) {
  const { items, total, all, searched } = data;
  const end = start + items.length;
  const found = items.length < total ? `${count(start + 1)} to ${count(end)} of ${count(total)}` : count(total);
  const among = searched ? `${items.length < total ? " found," : ""} of ${count(all)}` : "";
  return html`<p class="muted" role="status">
    ${found}${among} components; ${coverageWords(data.coverage)}${data.coverage.patched > 0 && `; 95 % intervals for ${
      interval === "pairs" ? "these pairs" : `the population that these pairs${job.groups ? `, in ${count(job.groups)} groups,` : ""} are a sample of`
    }${data.simultaneous ? ", all at once" : ""}`}${data.method === "combined" && `, estimated from the scores of ${job.methods.join(", ")} together`}${
      total > MOST &&
      html`; JSON and CSV have the first ${count(MOST)}, the export has
        ${" "}<a href=${address(jobPath(job.job, "export"), { what: "components", format: "csv", method })} download>all of them as CSV</a>`
    }
  </p>`;
}
