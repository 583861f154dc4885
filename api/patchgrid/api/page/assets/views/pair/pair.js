import { jobPath } from "../../core/net/api.js";
import { useData } from "../../core/net/data.js";
import { exactGrid, sitesOf } from "../../core/text/exactgrid.js";
import { count, number } from "../../core/text/format.js";
import { wholeName } from "../../core/text/naming.js";
import { byHead, byPosition, byToken, shapeOf } from "../../core/text/pairscores.js";
import { choose, href } from "../../core/nav/route.js";
import { foldable } from "../../core/text/sharedprefix.js";
import { hasHeads, isWide } from "../../core/text/sites.js";
import { html } from "../../core/ui.js";
import { Check, Choice } from "../../parts/forms/controls.js";
import { Copy } from "../../parts/copy.js";
import { DataLinks } from "../../parts/links.js";
import { MethodChoice, methodOf } from "../../parts/forms/method.js";
import { Answer } from "../../parts/problem.js";
import { State } from "../../parts/progress.js";
import { ShortTable } from "../../parts/tables/shorttable.js";
import { isStretched, Stretch } from "../../parts/forms/stretch.js";
import { Facts, Table } from "../../parts/tables/table.js";
import { Tokens } from "../../parts/tables/tokens.js";
import { PairGrid } from "./pairgrid.js";

/** One pair: its prompts by token, coloured by score, and all that is known of it. */
export function Pair({ job, params, name }) {
  const method = methodOf(job, params);
  const path = jobPath(job.job, "pairs", name);
  const pair = useData(path, { method });
  const row = Number(name);
  return html`<div class="head">
      <h2>Pair ${pair.data?.pair ?? name}</h2>
      ${pair.data && html`<${State} state=${pair.data.state} />`}
      <${DataLinks} path=${path} params=${{ method }} csv=${false} what="This pair" />
      <span class="links">
        ${row > 0 && html`<a href=${href(["jobs", job.job, "pairs", row - 1], params)} rel="prev">Previous</a>`}
        ${row + 1 < job.pairs.total && html`<a href=${href(["jobs", job.job, "pairs", row + 1], params)} rel="next">Next</a>`}
      </span>
    </div>
    <${Answer} of=${pair}>${(data) => html`<${Shown} job=${job} data=${data} params=${params} />`}<//>`;
}

function Shown({ job, data, params }) {
  const keptPositions = job.spec.detail === "positions";
  const scored = Object.keys(data.scores).filter((site) => shapeOf(data.scores[site], site, keptPositions) && !isWide(site));
  const sites = [...new Set([...scored, ...sitesOf(data)])];
  const site = sites.includes(params.site) ? params.site : (sites.find((each) => each === (keptPositions ? "resid_post" : "z")) ?? sites[0]);
  const shape = site && shapeOf(data.scores[site], site, keptPositions);
  const heads = site && hasHeads(site) ? byHead(data.scores[site], shape)[0].length : 0;
  const head = heads > Number(params.head) && params.head !== undefined ? Number(params.head) : null;
  const grid = shape === "positions" ? byPosition(data.scores[site], head) : null;
  const layer = grid && grid.length > Number(params.layer) && params.layer !== undefined ? Number(params.layer) : null;
  // Residual streams carry everything at once: their layers do not add up, so one of them is shown.
  const stream = site?.startsWith("resid");
  const shownLayer = layer ?? (stream ? Math.floor((grid?.length ?? 1) / 2) : null);
  const scores = grid ? byToken(grid, shownLayer) : null;
  const limit = scores ? Math.max(...scores.map(Math.abs)) : 0;
  const foldableTokens = foldable(data.tokens, data.corrupted_tokens);
  const folded = params.prefix === "shown" ? 0 : foldableTokens;
  const prompt = { scores, limit, spans: data.spans ?? {}, folded, onUnfold: () => choose({ prefix: "shown" }) };
  return html`${data.error && html`<p class="problem" role="alert">${data.error}</p>`}
    ${data.warning && html`<p class="note">${data.warning}</p>`}
    <form class="filters" aria-label="What colours the tokens" onSubmit=${(event) => event.preventDefault()}>
      ${sites.length > 0 && html`<${Choice} label="Site" value=${site} options=${sites} onChange=${(next) => choose({ site: next, layer: null, head: null })} />`}
      ${grid && html`<${Choice}
        label="Layer"
        value=${shownLayer === null ? "" : String(shownLayer)}
        options=${[...(stream ? [] : [["", "sum of all"]]), ...grid.map((_, index) => [String(index), String(index)])]}
        onChange=${(next) => choose({ layer: next })}
      />`}
      ${grid && heads > 0 && html`<${Choice} label="Head" value=${head === null ? "" : String(head)} options=${[["", "sum of all"], ...Array.from({ length: heads }, (_, index) => [String(index), String(index)])]} onChange=${(next) => choose({ head: next })} />`}
      <${MethodChoice} job=${job} params=${params} />
      ${site && html`<${Stretch} params=${params} />`}
      ${
        foldableTokens > 0 &&
        html`<${Check}
          label=${`Show the shared prefix (${count(foldableTokens)} tokens)`}
          hint="The tokens that both prompts begin with; they have no effect"
          checked=${folded === 0}
          onChange=${(on) => choose({ prefix: on ? "shown" : null })}
        />`
      }
    </form>
    <div class="head"><h3>Clean</h3><${Copies} text=${data.clean} tokens=${data.tokens} what="the clean prompt" /></div>
    <${Prompt} text=${data.clean} tokens=${data.tokens} others=${data.corrupted_tokens} label="Clean prompt" ...${prompt} />
    <div class="head"><h3>Corrupted</h3><${Copies} text=${data.corrupted} tokens=${data.corrupted_tokens} what="the corrupted prompt" /></div>
    <${Prompt} text=${data.corrupted} tokens=${data.corrupted_tokens} others=${data.tokens} label="Corrupted prompt" ...${prompt} />
    ${
      data.state === "done" &&
      html`<p class="muted">
        ${grid && "Coloured by score: blue lowers, red raises the metric."} Underlined tokens differ.
        ${!keptPositions && " No scores by position were stored: run the job with --detail positions to colour tokens."}
      </p>`
    }
    <${Facts} label="Answers and metrics" rows=${[
      ["correct", answers(data.correct, data.correct_tokens)],
      ["incorrect", answers(data.incorrect, data.incorrect_tokens)],
      [`${data.metric}, clean`, number(data.clean_metric, 4)],
      [`${data.metric}, corrupted`, number(data.corrupted_metric, 4)],
    ]} />
    ${site && html`<${PairGrid} job=${job} data=${data} site=${site} grid=${grid} folded=${folded} heads=${heads > 0 ? byHead(data.scores[site], shape) : null} exact=${data.state === "done" ? exactGrid(data, site) : null} head=${head} stretched=${isStretched(params)} />`}
    ${data.state === "done" && html`<${Strongest} job=${job} data=${data} params=${params} />`}
    ${data.state === "skipped" && html`<p class="empty">This pair was skipped: the model gets it wrong.</p>`}
    ${data.state === "pending" && html`<p class="empty">This pair has not been measured yet.</p>`}`;
}

function Copies({ text, tokens, what }) {
  return html`<${Copy} text=${text} what=${what} words="text" />
    ${tokens?.length > 0 && html`<${Copy} text=${JSON.stringify(tokens)} what=${`the tokens of ${what}`} words="tokens" />`}`;
}

function Prompt({ text, tokens, ...rest }) {
  if (!tokens || tokens.length === 0) return html`<p class="prompt">${text}</p>`;
  return html`<${Tokens} tokens=${tokens} ...${rest} />`;
}

const SHOWN = 5;

/** The first answers as they were given; a token id has its text beside it. */
function answers(list, tokens) {
  const text = (index) => (tokens?.[index] === undefined ? "text unknown until measured" : JSON.stringify(tokens[index]));
  const words = (list ?? []).map((answer, index) => (typeof answer === "number" ? `${answer} (${text(index)})` : JSON.stringify(answer)));
  const more = words.length > SHOWN ? ` and ${count(words.length - SHOWN)} more` : "";
  return `${words.slice(0, SHOWN).join(", ")}${more}`;
}

function Strongest({ job, data, params }) {
  const link = (cell) =>
    html`<a href=${href(["jobs", job.job, "components", wholeName(cell)], { site: cell.site, method: params.method })}>${cell.component}</a>`;
  const exact = [...(data.exact ?? [])].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  return html`<div class="columns">
    <section aria-labelledby="strongest">
      <h3 id="strongest">Strongest components</h3>
      <${Table}
        caption="Strongest components of this pair"
        columns=${[
          { key: "component", title: "component", header: true, cell: link },
          { key: "site", title: "site", cell: (row) => row.site },
          { key: "score", title: "score", number: true, cell: (row) => number(row.score) },
        ]}
        rows=${data.top ?? []}
        empty=${data.method === job.methods[0] ? "None stored: the job stores no scores per pair." : `Stored for ${job.methods[0]} only.`}
      />
    </section>
    <section aria-labelledby="exact">
      <h3 id="exact">Patched exactly</h3>
      <${ShortTable}
        caption="Exact effects of this pair"
        columns=${[
          { key: "component", title: "component", header: true, cell: link },
          { key: "site", title: "site", cell: (cell) => cell.site },
          { key: "score", title: "score", number: true, cell: (cell) => number(cell.score) },
          { key: "effect", title: "effect", number: true, cell: (cell) => number(cell.effect) },
          { key: "inclusion", title: "inclusion", number: true, cell: (cell) => number(cell.inclusion) },
        ]}
        rows=${exact}
        empty="No component of this pair was sampled."
      />
    </section>
  </div>`;
}
