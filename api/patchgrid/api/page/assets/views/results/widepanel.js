import { Bars } from "../../charts/bars.js";
import { jobPath } from "../../core/net/api.js";
import { isUnbounded } from "../../core/text/bounds.js";
import { useData } from "../../core/net/data.js";
import { freshness } from "../../core/net/follow.js";
import { metricWords } from "../../core/text/format.js";
import { go, href } from "../../core/nav/route.js";
import { SITE_WORDS } from "../../core/text/sites.js";
import { html } from "../../core/ui.js";
import { ComponentTip, componentWords } from "../../parts/tables/componenttip.js";
import { DataLinks } from "../../parts/links.js";
import { Unmeasured } from "../../parts/forms/method.js";
import { Answer } from "../../parts/problem.js";

const SHOWN = 30;

/** The strongest components of a site that has very many. */
export function WidePanel({ job, method, site }) {
  const params = { site, method, by: "estimate", limit: SHOWN };
  const rows = useData(jobPath(job.job, "components"), params, { fresh: freshness(job) });
  const label = `The ${SHOWN} strongest of ${site}, ${metricWords(job.spec.metric)}`;
  return html`<section class="panel" aria-label=${site}>
    <div class="head">
      <h2>${site} <span class="muted">${SITE_WORDS[site]}: the ${SHOWN} strongest</span></h2>
      <${DataLinks} path=${jobPath(job.job, "components")} params=${params} what=${label} />
    </div>
    <${Answer} of=${rows}>
      ${(data) =>
        data.items.length === 0
          ? html`<${Unmeasured} job=${job} />`
          : html`<${Bars}
                label=${label}
                rows=${data.items}
                unit=${`estimate, ${metricWords(job.spec.metric)}`}
                tell=${(row) => html`<${ComponentTip} row=${row} />`}
                words=${componentWords}
                onOpen=${(row) => go(["jobs", job.job, "components", row.component], { site, method })}
                keys=${[job.job, site, method, data.items.map((row) => [row.estimate, row.ci_low, row.ci_high])]}
              />
              <p class="muted">${legend(data.items)}</p>
              <p><a href=${href(["jobs", job.job, "components"], { site, method })}>The same as a table</a></p>`}
    <//>
  </section>`;
}

/** What the marks of this chart mean, of those that it has. */
function legend(rows) {
  return [
    "Lines are 95 % intervals; an arrow means the interval extends further.",
    rows.some(isUnbounded) && "Dashed: too few cells, too unevenly weighted, for a useful bound.",
    rows.some((row) => row.estimate === null) && "Pale: the mean score, because no cell was patched exactly.",
  ]
    .filter(Boolean)
    .join(" ");
}
