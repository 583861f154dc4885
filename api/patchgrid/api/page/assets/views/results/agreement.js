import { jobPath } from "../../core/net/api.js";
import { useData } from "../../core/net/data.js";
import { freshness } from "../../core/net/follow.js";
import { count, number, percent, seconds } from "../../core/text/format.js";
import { choose } from "../../core/nav/route.js";
import { html } from "../../core/ui.js";
import { Check, Choice } from "../../parts/forms/controls.js";
import { DataLinks } from "../../parts/links.js";
import { MethodChoice, methodOf } from "../../parts/forms/method.js";
import { Answer } from "../../parts/problem.js";
import { Table } from "../../parts/tables/table.js";
import { ExactCells } from "./exactcells.js";

/** How well scores agree with exact patching: all sites and methods as figures, one of them cell by cell. */
export function Agreement({ job, params }) {
  const method = methodOf(job, params);
  const site = job.spec.sites.includes(params.site) ? params.site : job.spec.sites[0];
  const found = useData(jobPath(job.job, "verification"), { top_k: 10 }, { fresh: freshness(job) });
  if (job.spec.exact === 0) {
    return html`<p class="empty">This job has no exact effects to compare scores with. Run it with <code>--exact</code> above 0.</p>`;
  }
  return html`<form class="filters" aria-label="What is drawn" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label="Site" value=${site} options=${job.spec.sites} onChange=${(next) => choose({ site: next })} />
      <${MethodChoice} job=${job} params=${params} />
      <${Check} label="Colour by layer" checked=${params.colour === "layer"} onChange=${(on) => choose({ colour: on ? "layer" : null })} />
    </form>
    <${Answer} of=${found}>
      ${(data) => {
        const fit = data.items.find((row) => row.site === site && row.method === method);
        return html`<${ExactCells} job=${job} site=${site} method=${method} fit=${fit} byLayer=${params.colour === "layer"} />
          <section aria-labelledby="all-sites">
            <div class="head">
              <h2 id="all-sites">All sites and methods</h2>
              <${DataLinks} path=${jobPath(job.job, "verification")} params=${{ top_k: 10 }} what="Agreement" />
            </div>
            <${Table} caption="Agreement of scores with exact effects" columns=${columns(data.cost)} rows=${data.items} empty="Nothing was patched exactly yet." />
            <p class="muted">
              Weighted by 1 / inclusion, to represent all cells. Bias is the mean of effect − score. Cost is the time of that method alone for 1,000 pairs${
                data.cost?.exact ? `; patching ${count(data.cost.effects)} cells took ${seconds(data.cost.exact)} for 1,000 pairs` : ""
              }.
            </p>
          </section>`;
      }}
    <//>`;
}

function columns(cost) {
  const figure = (key, title, hint, write = number) => ({ key, title, hint, number: true, cell: (row) => write(row[key]) });
  return [
    {
      key: "site",
      title: "site",
      header: true,
      cell: (row) => html`<button type="button" class="link" onClick=${() => choose({ site: row.site, method: row.method })}>${row.site}</button>`,
    },
    { key: "method", title: "method", cell: (row) => row.method },
    figure("n", "n", "Cells patched exactly", count),
    figure("exact_share", "patched", "Share of all cells that was patched exactly", percent),
    figure("pearson", "r", "Weighted Pearson correlation"),
    figure("spearman", "Spearman", "Weighted rank correlation"),
    figure("slope", "slope", "Slope of effect on score"),
    figure("intercept", "intercept", "In metric units"),
    figure("bias", "bias", "Mean of effect − score"),
    figure("sign_agreement", "same sign", "Share of cells whose score has the effect's sign", percent),
    figure("top_overlap", "top 10", "Share of the top 10 components by |estimate| that are top by |mean score| as well", percent),
    { key: "cost", title: "cost", number: true, hint: "Seconds per 1,000 pairs, of this method alone", cell: (row) => seconds(row.seconds ?? cost?.scores?.[row.method]) },
  ];
}
