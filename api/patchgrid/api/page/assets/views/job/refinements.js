import { jobPath } from "../../core/net/api.js";
import { useData } from "../../core/net/data.js";
import { number } from "../../core/text/format.js";
import { boundaryWords, boundWords, outcomeWords, requestWords, STATES } from "../../core/text/refinement.js";
import { href } from "../../core/nav/route.js";
import { html } from "../../core/ui.js";
import { DataLinks } from "../../parts/links.js";
import { ShortTable } from "../../parts/tables/shorttable.js";

/** Components drawn on each side of the boundary while a certificate runs. */
const AROUND = 8;
const [WIDTH, HEIGHT, RIM] = [180, 14, 4];

/** What was patched beyond a job's sample, and the latest certificate. */
export function Refinements({ job, latest }) {
  const fresh = JSON.stringify(latest);
  const answer = useData(jobPath(job.job, "refinements"), {}, { when: Boolean(latest), fresh });
  const items = answer.data?.items ?? [];
  if (!latest || items.length === 0) return null;
  const certificate = items.filter((each) => each.result?.counts).at(-1);
  return html`<section aria-labelledby="refinements">
    <div class="head"><h2 id="refinements">More exact patching</h2><${DataLinks} path=${jobPath(job.job, "refinements")} what="Refinements" csv=${false} /></div>
    <ul>
      ${items.map((each) => html`<li key=${each.number}>${requestWords(each.request)}: <span class="muted">${outcomeWords(each)}</span></li>`)}
    </ul>
    ${certificate && html`<${Certificate} job=${job} refinement=${certificate} />`}
  </section>`;
}

function Certificate({ job, refinement }) {
  const { result, state } = refinement;
  const running = state === "running";
  const sorted = STATES.flatMap((each) => result.components.filter((row) => row.state === each));
  const rows = running ? around(result) : sorted;
  const domain = [Math.min(0, ...rows.map((row) => row.low ?? 0)), Math.max(...rows.map((row) => row.high ?? 0))];
  const what = result.ranking === "signed" ? "mean effect" : "|mean effect|";
  const columns = [
    { key: "component", title: "component", header: true, cell: (row) => html`<a href=${href(["jobs", job.job, "components", row.component])}>${row.component}</a>` },
    { key: "state", title: "state", cell: (row) => html`<span class=${`race ${row.state}`}>${row.state}</span>` },
    { key: "bar", title: what, hint: "confidence sequence", cell: (row) => html`<${Bar} row=${row} domain=${domain} above=${result.above} />` },
    { key: "estimate", title: "mean effect", number: true, cell: (row) => number(row.estimate) },
    { key: "low", title: "from", number: true, hint: `end of the confidence sequence of the ${what}`, cell: (row) => number(row.low) },
    { key: "high", title: "to", number: true, hint: `end of the confidence sequence of the ${what}`, cell: (row) => number(row.high) },
    { key: "patched", title: "patched", cell: (row) => (row.exact ? "every pair" : `${row.cells} of ${row.pairs}`) },
  ];
  return html`<h3>Top ${result.k} by ${what}</h3>
    <p role="status">${boundaryWords(result)}</p>
    <${ShortTable} caption=${running ? "Components around the boundary" : `Certificate of the top ${result.k}`} columns=${columns} rows=${rows} rowKey=${(row) => row.component} />
    ${!running && html`<p>${boundWords(result)}</p>`}
    <p class="muted">It speaks of ${result.assumes.replace(/^it speaks of /, "")}.</p>`;
}

/** The components nearest to the boundary between the k-th and the next. */
function around({ components, k, ranking }) {
  const size = (row) => (ranking === "signed" ? row.estimate : Math.abs(row.estimate));
  const ordered = [...components].sort((one, other) => size(other) - size(one));
  return ordered.slice(Math.max(0, k - AROUND), k + AROUND);
}

/** A confidence sequence on the scale that all rows share, coloured by state; a line where the boundary is. */
function Bar({ row, domain, above }) {
  const [low, high] = domain;
  if (row.low === null || row.high === null || !(high > low)) return html`<span class="muted">no bound</span>`;
  const place = (value) => RIM + ((Math.max(low, Math.min(high, value)) - low) / (high - low)) * (WIDTH - 2 * RIM);
  const width = Math.max(2, place(row.high) - place(row.low));
  return html`<svg class=${`race ${row.state}`} width=${WIDTH} height=${HEIGHT} viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
    ${above !== null && html`<line class="boundary" x1=${place(above)} x2=${place(above)} y1="0" y2=${HEIGHT} />`}
    <rect x=${place(row.low)} y="4" width=${width} height=${HEIGHT - 8} rx="2" />
  </svg>`;
}
