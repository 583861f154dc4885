import { askAll, jobPath } from "../../core/net/api.js";
import { useAnswer } from "../../core/net/data.js";
import { freshness } from "../../core/net/follow.js";
import { isPatched } from "../../core/text/budget.js";
import { metricWords } from "../../core/text/format.js";
import { choose } from "../../core/nav/route.js";
import { COLUMNS, hasHeads, isWide } from "../../core/text/sites.js";
import { html } from "../../core/ui.js";
import { Choice } from "../../parts/forms/controls.js";
import { MethodChoice, methodOf } from "../../parts/forms/method.js";
import { isStretched, Stretch } from "../../parts/forms/stretch.js";
import { HeadPanel } from "./headpanel.js";
import { WidePanel } from "./widepanel.js";

/** More heads than any model has. */
const MOST = 200_000;
const SIZE = 10_000;
const MEASURES = [
  ["", "estimate or mean score"],
  ["estimate", "estimate"],
  ["mean", "mean score"],
  ["mean_abs", "mean |score|"],
];

/** Layer by head for each site of heads, layer by site for the others, bars for sites of very many components. */
export function Heads({ job, params }) {
  const method = methodOf(job, params);
  const sites = job.spec.sites.filter((site) => !params.site || site === params.site);
  const panels = [
    ...sites.filter(hasHeads).map((site) => ({ title: site, sites: [site] })),
    ...COLUMNS.map(({ title, sites: group }) => ({ title, sites: sites.filter((site) => group.includes(site)) })).filter((panel) => panel.sites.length > 0),
  ];
  return html`<form class="filters" aria-label="What is drawn" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label="Site" value=${params.site ?? ""} options=${[["", "all"], ...job.spec.sites]} onChange=${(site) => choose({ site })} />
      <${MethodChoice} job=${job} params=${params} />
      ${
        panels.length > 0 &&
        html`<${Choice} label="Colour" value=${params.measure ?? ""} options=${MEASURES} onChange=${(measure) => choose({ measure })} />
          <${Stretch} params=${params} />`
      }
    </form>
    <p class="muted">${aboutOf(job, panels.length > 0)}</p>
    <div class="panels">
      ${panels.map((panel) => html`<${HeadSites} key=${panel.title} job=${job} method=${method} panel=${panel} measure=${params.measure} stretched=${isStretched(params)} />`)}
      ${sites.filter(isWide).map((site) => html`<${WidePanel} key=${site} job=${job} method=${method} site=${site} />`)}
    </div>`;
}

function HeadSites({ job, method, panel, measure, stretched }) {
  const rows = useAnswer(
    async (signal) => {
      const answers = await Promise.all(panel.sites.map((site) => askAll(jobPath(job.job, "components"), { params: { site, method, kind: "whole" }, most: MOST, size: SIZE, signal })));
      return answers.flatMap((answer) => answer.items);
    },
    [job.job, panel.sites, method],
    { fresh: freshness(job) },
  );
  return html`<${HeadPanel} job=${job} method=${method} panel=${panel} measure=${measure} stretched=${stretched} rows=${rows} />`;
}

/** What the figures are, and what the marks mean. */
function aboutOf(job, cells) {
  return [
    `In units of ${metricWords(job.spec.metric)}.`,
    !isPatched(job) && "Nothing was patched exactly: these are attribution scores.",
    isPatched(job) && "An estimate is the mean effect: attribution corrected by sampled exact patching.",
    isPatched(job) && cells && "A dot marks a component whose 95 % interval excludes 0.",
    `Click a ${cells ? "cell or bar" : "bar"} to open its component.`,
  ]
    .filter(Boolean)
    .join(" ");
}
