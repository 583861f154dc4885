import { PAIR_STATES } from "../../../records.js";
import { jobPath } from "../../core/net/api.js";
import { useData } from "../../core/net/data.js";
import { number } from "../../core/text/format.js";
import { choose, href } from "../../core/nav/route.js";
import { html } from "../../core/ui.js";
import { Choice, Pager, Search } from "../../parts/forms/controls.js";
import { DataLinks } from "../../parts/links.js";
import { Answer } from "../../parts/problem.js";
import { State } from "../../parts/progress.js";
import { Table } from "../../parts/tables/table.js";

/** The job's pairs: searched, or the failed ones with their reasons. */
export function Pairs({ job, params }) {
  const { state, search, name, cursor } = params;
  const asked = { state, search, name, limit: 100, cursor };
  const path = jobPath(job.job, "pairs");
  const pairs = useData(path, asked);
  const filter = (changes) => choose({ ...changes, cursor: null });
  return html`<form class="filters" role="search" aria-label="Pairs" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label="State" value=${state ?? ""} options=${[["", "any"], ...PAIR_STATES]} onChange=${(value) => filter({ state: value })} />
      <${Search} label="Text or id" value=${search} onChange=${(value) => filter({ search: value })} />
      <${Search} label="Exact id" value=${name} onChange=${(value) => filter({ name: value })} />
      <${DataLinks} path=${path} params=${asked} what="These pairs" />
    </form>
    <${Answer} of=${pairs}>
      ${(data) =>
        data.items.length === 0 && data.next
          ? html`<p class="empty">
              Nothing found so far.
              <button type="button" onClick=${() => choose({ cursor: data.next })}>Continue search</button>
            </p>`
          : html`<${Table}
                caption="Pairs"
                columns=${columns(job, params)}
                rows=${data.items}
                rowKey=${(pair) => pair.row}
                empty=${state === "failed" && !search && !name ? "No pair failed." : "No pair matches."}
              />
              <${Pager} next=${data.next} cursor=${cursor} words=${search ? "Continue search" : "Next page"} onCursor=${(next) => choose({ cursor: next }, { step: true })} />`}
    <//>`;
}

function columns(job, params) {
  const failed = params.state === "failed";
  const open = (pair) => href(["jobs", job.job, "pairs", pair.row], { site: params.site, method: params.method });
  return [
    { key: "row", title: "row", number: true, cell: (pair) => html`<a href=${open(pair)}>${pair.row}</a>` },
    { key: "pair", title: "id", header: true, cell: (pair) => html`<a href=${open(pair)}>${pair.pair}</a>` },
    !failed && { key: "state", title: "state", cell: (pair) => html`<${State} state=${pair.state} />` },
    (failed || !params.state) && job.pairs.failed > 0 && { key: "error", title: "error", wrap: true, cell: (pair) => pair.error ?? "" },
    { key: "clean", title: "clean", wrap: true, cell: (pair) => html`<span class="prompt">${pair.clean}</span>` },
    { key: "corrupted", title: "corrupted", wrap: true, cell: (pair) => html`<span class="prompt">${pair.corrupted}</span>` },
    !failed && { key: "clean_metric", title: `${job.spec.metric}, clean`, number: true, cell: (pair) => number(pair.clean_metric) },
    !failed && { key: "corrupted_metric", title: "corrupted", number: true, cell: (pair) => number(pair.corrupted_metric) },
  ].filter(Boolean);
}
