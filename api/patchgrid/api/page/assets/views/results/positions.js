import { labelled } from "../../charts/gridspec.js";
import { Grid } from "../../charts/grid.js";
import { jobPath } from "../../core/net/api.js";
import { useData } from "../../core/net/data.js";
import { freshness } from "../../core/net/follow.js";
import { metricWords, number } from "../../core/text/format.js";
import { choose, href } from "../../core/nav/route.js";
import { isWide } from "../../core/text/sites.js";
import { html } from "../../core/ui.js";
import { Choice } from "../../parts/forms/controls.js";
import { GridTable } from "../../parts/tables/gridtable.js";
import { DataLinks } from "../../parts/links.js";
import { MethodChoice, methodOf, Unmeasured } from "../../parts/forms/method.js";
import { Answer, ProblemBox } from "../../parts/problem.js";
import { isStretched, Stretch } from "../../parts/forms/stretch.js";

/** Layer by position, over all pairs: positions from the end, or by named spans. */
export function Positions({ job, params }) {
  const sites = job.spec.sites.filter((site) => !isWide(site) || job.spec.positions === "keep");
  const method = methodOf(job, params);
  const site = sites.includes(params.site) ? params.site : (sites.find((each) => each === "resid_post") ?? sites[0]);
  const asked = { site, kind: "aligned", method };
  const map = useData(jobPath(job.job, "heatmap"), asked, { when: Boolean(site), fresh: freshness(job) });
  if (!site) {
    return html`<p class="empty">No positions were stored for ${job.spec.sites.join(", ")}. Run the job with <code>--positions keep</code>.</p>`;
  }
  const missing = map.problem && [404, 409].includes(map.problem.status);
  return html`<form class="filters" aria-label="What is drawn" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label="Site" value=${site} options=${sites} onChange=${(next) => choose({ site: next })} />
      <${MethodChoice} job=${job} params=${params} />
      <${Stretch} params=${params} />
    </form>
    <section class="panel wide" aria-label="Layer by position">
      <div class="head">
        <h2>${site} <span class="muted">by layer and ${job.spans.length > 0 ? "span" : "position from the end"}</span></h2>
        <${DataLinks} path=${jobPath(job.job, "heatmap")} params=${asked} what="This heatmap" />
      </div>
      ${missing ? html`<${Unmeasured} job=${job} /><${ProblemBox} problem=${map.problem} />` : html`<${Answer} of=${map}>${(data) => html`<${Drawn} job=${job} data=${data} stretched=${isStretched(params)} />`}<//>`}
    </section>
    <p class="muted">
      Averages align positions ${job.spans.length > 0 ? "by the pairs' spans" : "from the end (−1 is the last)"}. To see single tokens, open${" "}
      <a href=${href(["jobs", job.job, "pairs"])}>a pair</a>.
    </p>`;
}

function Drawn({ job, data, stretched }) {
  const rows = data.values.map((_, layer) => layer);
  const cells = data.values.flatMap((values, row) => values.map((value, column) => ({ row, column, value, guess: data.measure === "mixed" && !data.estimated[row][column] })));
  const measure = data.measure === "mean" ? "mean score" : "estimated effect";
  const name = job.spans.length > 0 ? "span" : "position";
  const label = `${measure} of ${data.site} by layer and ${name}, ${metricWords(data.unit)}`;
  const words = (cell) => `layer ${cell.row}, ${name} ${labelled(data.columns[cell.column])}: ${cell.value === null ? "no pair has it" : `${cell.guess ? "mean score" : measure} ${number(cell.value)}`}`;
  return html`${data.measure === "mean" && html`<p class="muted">Mean scores by ${data.method}: no positions were patched exactly.</p>`}${data.measure === "mixed" && html`<p class="muted">A stroke marks mean scores by ${data.method} where the cell was not fully patched.</p>`}
    <${Grid}
      label=${label}
      rows=${rows}
      columns=${data.columns}
      cells=${cells}
      stretched=${stretched}
      columnTitle=${name}
      legend=${[measure, `(${metricWords(data.unit)})`]}
      none=${`no pair has this ${name}`}
      atEnd=${job.spans.length === 0}
      tell=${words}
      words=${words}
      keys=${[data, job.job]}
    />
    <${GridTable} caption=${label} corner="layer" rows=${rows} columns=${data.columns} cells=${cells} />`;
}
