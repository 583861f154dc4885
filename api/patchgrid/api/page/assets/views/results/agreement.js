import { jobPath } from "../../core/net/api.js";
import { useData } from "../../core/net/data.js";
import { freshness } from "../../core/net/follow.js";
import { isPatched } from "../../core/text/budget.js";
import { count, percent, percentWithError, seconds, withError } from "../../core/text/format.js";
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
  if (!isPatched(job)) {
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
            <${AdviceList} advice=${data.advice} />
            <${Table} caption="Agreement of scores with exact effects" columns=${columns(data.cost)} rows=${data.items} empty="Nothing was patched exactly yet." />
            <p class="muted">
              ± is the standard error, for the population that the pairs are a sample of. Cells are weighted by 1 / inclusion, to
              represent all cells. Those that matter carry 95 % of the sum of |effect|. Cost is the time of that method alone for 1,000 pairs${
                data.cost?.exact ? `; patching ${count(data.cost.effects)} cells took ${seconds(data.cost.exact)} for 1,000 pairs` : ""
              }.
            </p>
          </section>`;
      }}
    <//>`;
}

function AdviceList({ advice }) {
  if (!advice?.length) return null;
  return html`<ul aria-label="Advice">
    ${advice.map(({ text, command }) => html`<li key=${text}>${text}${command && html`: <code>patchgrid ${command}</code>`}</li>`)}
  </ul>`;
}

function columns(cost) {
  const plain = (key, title, hint, write) => ({ key, title, hint, number: true, cell: (row) => write(row[key]) });
  const figure = (key, title, hint, write = withError) => ({ key, title, hint, number: true, cell: (row) => write(row[key], row[`${key}_se`]) });
  return [
    {
      key: "site",
      title: "site",
      header: true,
      cell: (row) => html`<button type="button" class="link" onClick=${() => choose({ site: row.site, method: row.method })}>${row.site}</button>`,
    },
    { key: "method", title: "method", cell: (row) => row.method },
    plain("n", "n", "Cells patched exactly", count),
    plain("exact_share", "patched", "Share of all cells that was patched exactly", percent),
    figure("mean_pearson", "r of means", "Pearson correlation of mean score and estimated mean effect over components, allowing for the estimates' errors"),
    figure("mean_slope", "slope of means", "Slope of estimated mean effect on mean score"),
    figure("mean_error", "error of means", "Difference of mean scores and mean effects, as a share of the effects' spread over components"),
    figure("within_pearson", "r within", "Pearson correlation within components"),
    figure("within_slope", "slope within", "Slope of effect on score within components"),
    figure("pearson", "r of cells", "Pearson correlation over all cells"),
    figure("slope", "slope of cells", "Slope of effect on score over all cells"),
    figure("intercept", "intercept", "Of that line, in metric units"),
    figure("bias", "bias", "Mean of effect − score over all cells"),
    figure("spearman", "Spearman", "Rank correlation over the cells that matter"),
    figure("sign_agreement", "same sign", "Share of the cells that matter whose score has the effect's sign", percentWithError),
    { key: "top_overlap", title: "top k", number: true, hint: "The top components by |mean score| that are top by |estimate| too, or how many were patched at all", cell: topWords },
    { key: "cost", title: "cost", number: true, hint: "Seconds per 1,000 pairs, of this method alone", cell: (row) => seconds(row.seconds ?? cost?.scores?.[row.method]) },
  ];
}

/** The top list by score against that by estimate, where all of it was patched. */
function topWords(row) {
  const top = Math.min(row.top_k, row.components);
  if (row.top_overlap === null) return `${row.top_patched}/${top} patched`;
  return `${Math.round(row.top_overlap * row.top_k)}/${row.top_k}`;
}
