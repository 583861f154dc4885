import { address, jobPath } from "../core/api.js";
import { isUnbounded } from "../core/bounds.js";
import { count } from "../core/format.js";
import { choose } from "../core/route.js";
import { html, useMemo } from "../core/ui.js";
import { Check, Choice, Search } from "../parts/controls.js";
import { DataLinks } from "../parts/links.js";
import { MethodChoice, methodOf, Unmeasured } from "../parts/method.js";
import { Answer } from "../parts/problem.js";
import { Table } from "../parts/table.js";
import { columns, sorted } from "./componentcolumns.js";
import { MOST, useRanked } from "./ranked.js";

const PAGE = 100;
const KINDS = [
  ["", "as the job measures"],
  ["whole", "all positions at once"],
  ["aligned", "by position"],
];

/** Every component with its estimate and interval; the strongest first. */
export function Components({ job, params }) {
  const method = methodOf(job, params);
  const { site = "", kind = "", population = "" } = params;
  const asked = { site, kind, method, population: population ? "true" : null };
  const path = jobPath(job.job, "components");
  const rows = useRanked(job, path, asked, params);
  const filter = (changes) => choose({ ...changes, page: null });
  return html`<form class="filters" role="search" aria-label="Components" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label="Site" value=${site} options=${[["", "all"], ...job.spec.sites]} onChange=${(value) => filter({ site: value })} />
      <${MethodChoice} job=${job} params=${params} />
      <${Choice} label="Components" value=${kind} options=${KINDS} onChange=${(value) => filter({ kind: value })} />
      <${Search} label="Name" value=${params.search} placeholder="a9.h6" onChange=${(value) => filter({ search: value })} />
      <${Check} label="Draw intervals" checked=${params.drawn !== "no"} onChange=${(on) => choose({ drawn: on ? null : "no" })} />
      <${Check}
        label="Intervals beyond these pairs"
        hint="Wider: for where the pairs come from, and not for this job's pairs alone"
        checked=${Boolean(population)}
        onChange=${(on) => filter({ population: on ? "yes" : null })}
      />
      <${DataLinks} path=${path} params=${{ ...asked, by: "estimate", limit: MOST }} what="Components" />
    </form>
    <${Answer} of=${rows}>${(data) => html`<${Found} job=${job} data=${data} params=${params} />`}<//>`;
}

function Found({ job, data, params }) {
  const { search = "", sort = "estimate", order = "down", page = "1" } = params;
  const down = order !== "up";
  const found = useMemo(() => {
    const text = search.toLowerCase();
    const kept = data.items.filter((row) => row.component.toLowerCase().includes(text));
    return sorted(kept, sort, down);
  }, [data.items, search, sort, down]);
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const at = Math.min(pages, Math.max(1, Number(page) || 1));
  const shown = found.slice((at - 1) * PAGE, at * PAGE);
  if (data.items.length === 0) return html`<${Unmeasured} job=${job} />`;
  return html`<${Reach} job=${job} data=${data} found=${found.length} method=${params.method} />
    <${Table}
      caption="Components"
      columns=${columns(job, params.method, shown, params.drawn !== "no")}
      rows=${shown}
      rowKey=${(row) => `${row.site}/${row.component}`}
      sort=${{ by: sort, down }}
      onSort=${(by, isDown) => choose({ sort: by === "estimate" ? null : by, order: isDown ? null : "up", page: null })}
      empty=${data.more ? "No component looked through is named so." : "No component is named so."}
    />
    ${shown.some(isUnbounded) && html`<p class="muted"><em>no bound</em>: so few cells, of such uneven weight, that the interval says nothing. JSON, CSV and exports have its numbers.</p>`}
    ${
      pages > 1 &&
      html`<nav class="pager" aria-label="Pages">
        <button type="button" disabled=${at === 1} onClick=${() => choose({ page: at - 1 }, { step: true })}>Previous</button>
        <span>page ${at} of ${pages}</span>
        <button type="button" disabled=${at === pages} onClick=${() => choose({ page: at + 1 }, { step: true })}>Next</button>
      </nav>`
    }`;
}

/** How many there are here, and of which; where the others are. */
function Reach({ job, data, found, method }) {
  const { items, more, by } = data;
  if (!more) return html`<p class="muted" role="status">${count(found)} ${found === items.length ? "" : `of ${count(items.length)}`} components</p>`;
  const strongest = `the ${count(items.length)} largest by ${by === "estimate" ? "|estimate|" : by.replace("mean_abs", "mean |score|").replace(/^mean$/, "|mean score|")}`;
  return html`<p class="note" role="status">
    ${found === items.length ? `Shown are ${strongest}` : `${count(found)} among ${strongest}`}; this job has more components. Choose a site to see deeper, or take
    ${" "}<a href=${address(jobPath(job.job, "export"), { what: "components", format: "csv", method })} download>all of them as CSV</a>.
  </p>`;
}
