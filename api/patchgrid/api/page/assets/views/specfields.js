import { shortModel } from "../core/format.js";
import { EDGE_METHODS, METHOD_WORDS, NODE_METHODS, SITE_WORDS, SITES } from "../core/sites.js";
import { html } from "../core/ui.js";
import { Choice } from "../parts/controls.js";
import { modelKey } from "./spec.js";

const METRICS = [
  ["logit_diff", "logit difference"],
  ["logprob", "log probability"],
  ["prob_diff", "probability difference"],
  ["kl", "KL divergence to the clean run"],
];
const DIRECTIONS = [
  ["denoise", "denoise: clean into corrupted"],
  ["noise", "noise: corrupted into clean"],
];
const POSITIONS = [
  ["sum", "all positions at once"],
  ["keep", "each position by itself"],
];
const DETAILS = [
  ["summary", "nothing of single pairs"],
  ["pairs", "scores of each pair"],
  ["positions", "scores of each pair and position"],
];
const SOURCES = [
  ["pair", "the other prompt's activation"],
  ["mean", "the mean over the job's pairs"],
  ["zero", "zero"],
];

export function ModelField({ values, change, models }) {
  const options = (models.data?.items ?? []).map((each) => [modelKey(each), `${shortModel(each.model)}${each.revision ? `@${each.revision}` : ""}${each.serving ? `, workers that serve it: ${each.serving}` : ", no worker serves it"}`]);
  if (models.data && options.length === 0) return html`<p class="note">This server allows no model yet: whoever runs it names them.</p>`;
  return html`<${Choice} label="Model" value=${values.model} options=${options} onChange=${(model) => change({ model })} />`;
}

function Boxes({ legend, names, words, chosen, onChange }) {
  const flip = (name, on) => onChange(on ? [...chosen, name] : chosen.filter((each) => each !== name));
  return html`<fieldset class="boxes">
    <legend>${legend}</legend>
    ${names.map(
      (name) =>
        html`<label key=${name} class="check">
          <input type="checkbox" checked=${chosen.includes(name)} onChange=${(event) => flip(name, event.target.checked)} />
          <span><code>${name}</code> <span class="muted">${words[name]}</span></span>
        </label>`,
    )}
  </fieldset>`;
}

export function Sites({ values, change }) {
  const edges = values.sites.includes("edge");
  function chosen(sites) {
    const now = sites.includes("edge");
    // Edges are a job of their own, scored by methods of their own.
    if (now && !edges) change({ sites: ["edge"], methods: ["eap"] });
    else if (now && sites.length > 1) change({ sites: sites.filter((site) => site !== "edge"), methods: ["atp"] });
    else change({ sites: SITES.filter((site) => sites.includes(site)), methods: edges ? ["atp"] : values.methods });
  }
  return html`<${Boxes} legend="Sites" names=${SITES} words=${SITE_WORDS} chosen=${values.sites} onChange=${chosen} />
    <${Boxes}
      legend=${values.methods.length > 1 ? `Methods; the sample is drawn by the first chosen, ${values.methods[0]}` : "Methods"}
      names=${edges ? EDGE_METHODS : NODE_METHODS}
      words=${METHOD_WORDS}
      chosen=${values.methods}
      onChange=${(methods) => change({ methods })}
    />`;
}

export function Measure({ values, change }) {
  return html`<div class="fields">
    <${Choice} label="Metric" value=${values.metric} options=${METRICS} onChange=${(metric) => change({ metric })} />
    <${Choice} label="Direction" value=${values.direction} options=${DIRECTIONS} onChange=${(direction) => change({ direction })} />
    <${Text} label="Patched exactly, % of cells" kind="number" min="0" max="100" step="any" required value=${values.exact} onChange=${(exact) => change({ exact })} />
    <${Text} label="Name (optional)" value=${values.name} onChange=${(name) => change({ name })} />
  </div>`;
}

export function Advanced({ values, change }) {
  return html`<details>
    <summary>More settings</summary>
    <div class="fields">
      <${Choice} label="A component is" value=${values.positions} options=${POSITIONS} onChange=${(positions) => change({ positions })} />
      <${Choice} label="Keep" value=${values.detail} options=${DETAILS} onChange=${(detail) => change({ detail })} />
      <${Choice} label="Put in" value=${values.source} options=${SOURCES} onChange=${(source) => change({ source })} />
      <${Choice} label="Number type" value=${values.dtype} options=${["auto", "float32", "bfloat16", "float16"]} onChange=${(dtype) => change({ dtype })} />
      <${Choice} label="Put a BOS token first" value=${values.prependBos} options=${[["", "as the tokenizer does"], "yes", "no"]} onChange=${(prependBos) => change({ prependBos })} />
      <${Text} label="Seed" kind="number" min="0" step="1" required value=${values.seed} onChange=${(seed) => change({ seed })} />
      <${Text} label="Points of ig and eap-ig" kind="number" min="1" step="1" required value=${values.steps} onChange=${(steps) => change({ steps })} />
      <${Text} label="Priority" kind="number" step="1" required value=${values.priority} onChange=${(priority) => change({ priority })} />
      <${Text} label="First pairs only" kind="number" min="1" step="1" value=${values.limit} onChange=${(limit) => change({ limit })} />
    </div>
  </details>`;
}

function Text({ label, kind = "text", value, onChange, ...rest }) {
  return html`<label class="field">
    <span>${label}</span>
    <input type=${kind} value=${value} onInput=${(event) => onChange(event.target.value)} ...${rest} />
  </label>`;
}
