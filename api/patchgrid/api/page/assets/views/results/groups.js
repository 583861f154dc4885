import { jobPath } from "../../core/net/api.js";
import { isPatched } from "../../core/text/budget.js";
import { domainOf, estimateWords, plusMinus } from "../../core/text/bounds.js";
import { useData } from "../../core/net/data.js";
import { freshness } from "../../core/net/follow.js";
import { count, metricWords, number } from "../../core/text/format.js";
import { href } from "../../core/nav/route.js";
import { html } from "../../core/ui.js";
import { DataLinks } from "../../parts/links.js";
import { Interval } from "../../parts/tables/interval.js";
import { ShortTable } from "../../parts/tables/shorttable.js";
import { Answer } from "../../parts/problem.js";

/** Most groups whose results a job has, and components that are listed. */
const [MOST, LISTED] = [32, 100];
/** Sites without sums by group. */
const WIDE = ["mlp_post", "edge"];

/** Whether a job's components have results by group. */
function hasGroups(job, site) {
  return job.groups > 1 && job.groups <= MOST && isPatched(job) && !WIDE.includes(site);
}

/** One component's mean effect in each group of pairs. */
export function ItsGroups({ job, row, method }) {
  const when = hasGroups(job, row.site) && (row.position === null) === (job.spec.positions !== "keep");
  const path = jobPath(job.job, "groups");
  const params = { component: row.component, method };
  const found = useData(path, params, { when, fresh: freshness(job) });
  if (!when) return null;
  return html`<section aria-labelledby="by-group">
    <div class="head"><h3 id="by-group">By group of pairs</h3><${DataLinks} path=${path} params=${params} what=${`Groups of ${row.component}`} csv=${false} /></div>
    <${Answer} of=${found}>
      ${({ items: [item] }) => html`<p>${item.differs ? "The groups differ" : "The groups do not certainly differ"}: their true means spread by ${number(item.spread)} ${metricWords(job.spec.metric)}.</p>
        <${ShortTable} caption=${`Groups of ${row.component}`} columns=${groupColumns(item.groups.map(asRow))} rows=${item.groups.map(asRow)} />`}
    <//>
  </section>`;
}

/** A group's mean as a row with an estimate: every pair of it has a part in it. */
function asRow(group) {
  return { ...group, estimate: group.mean, exact_n: null };
}

function groupColumns(rows) {
  const domain = domainOf(rows);
  return [
    { key: "group", title: "group", header: true, cell: (row) => row.group },
    { key: "estimate", title: "estimate", number: true, cell: estimateWords },
    { key: "drawn", title: "drawn", cell: (row) => html`<${Interval} row=${row} domain=${domain} />` },
    { key: "interval", title: "95 % interval", number: true, cell: plusMinus },
    { key: "n", title: "pairs", number: true, cell: (row) => count(row.n) },
  ];
}

/** The components whose mean effects differ most between groups of pairs. */
export function GroupSpread({ job, site, method }) {
  const when = hasGroups(job, site);
  const path = jobPath(job.job, "groups");
  const params = { site: site || null, method, limit: LISTED };
  const found = useData(path, params, { when, fresh: freshness(job) });
  if (!when) return null;
  return html`<section aria-labelledby="groups">
    <div class="head"><h2 id="groups">Between groups of pairs</h2><${DataLinks} path=${path} params=${params} what="Groups" csv=${false} /></div>
    <${Answer} of=${found}>
      ${(data) => html`<p class="muted">${count(data.differing)} of ${count(data.compared)} components differ between the ${count(data.groups)} groups, at a false discovery rate of 5 %.</p>
        <${ShortTable} caption="Components by group" columns=${spreadColumns(job)} rows=${data.items} rowKey=${(row) => row.component} />`}
    <//>
  </section>`;
}

function spreadColumns(job) {
  const ends = (row) => row.groups.filter(({ mean }) => mean !== null).sort((a, b) => a.mean - b.mean);
  const end = (group) => group && html`${number(group.mean)} <span class="muted">${group.group}</span>`;
  return [
    { key: "component", title: "component", header: true, cell: (row) => html`<a href=${href(["jobs", job.job, "components", row.component], { site: row.site })}>${row.component}</a>` },
    { key: "estimate", title: "estimate", number: true, cell: estimateWords },
    { key: "spread", title: "spread", number: true, hint: "Standard deviation of the groups' true means", cell: (row) => number(row.spread) },
    { key: "lowest", title: "lowest", cell: (row) => end(ends(row)[0]) },
    { key: "highest", title: "highest", cell: (row) => end(ends(row).at(-1)) },
    { key: "differs", title: "", cell: (row) => (row.differs ? "differ" : "") },
  ];
}
