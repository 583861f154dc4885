import { shortModel } from "../../core/text/format.js";
import { SITE_WORDS, SITES } from "../../core/text/sites.js";
import { html } from "../../core/ui.js";
import { BoxesField, ChoiceField, TextField } from "../../parts/forms/fields.js";
import { optionsOf } from "./moresettings.js";
import { named } from "./settings.js";
import { methodsFor, modelKey, OTHER } from "./spec.js";

export function ModelField({ form, models }) {
  const options = (models.data?.items ?? []).map((each) => [modelKey(each), modelWords(each)]);
  if (models.data && options.length === 0) return html`<p class="note">This server allows no models yet. Ask its operator.</p>`;
  return html`<${ChoiceField} form=${form} name="model" label="Model" options=${options} />`;
}

function modelWords({ model, revision, serving }) {
  return `${shortModel(model)}${revision ? `@${revision}` : ""}${serving ? `, workers that serve it: ${serving}` : ", no worker serves it"}`;
}

export function Sites({ form }) {
  const { values, change } = form;
  const edges = values.sites.includes("edge");
  function chosen(sites) {
    const now = sites.includes("edge");
    // Edges are a job of their own, scored by methods of their own.
    if (now && !edges) change({ sites: ["edge"], method: ["eap"] });
    else if (now && sites.length > 1) change({ sites: sites.filter((site) => site !== "edge"), method: ["atp"] });
    else change({ sites: SITES.filter((site) => sites.includes(site)), method: edges ? ["atp"] : values.method });
  }
  return html`<${BoxesField} form=${form} name="sites" legend="Sites" names=${SITES} words=${SITE_WORDS} onChange=${chosen} />
    <${BoxesField}
      form=${form}
      name="method"
      legend=${values.method.length > 1 ? `Methods; the sample is drawn by the first chosen, ${values.method[0]}` : "Methods"}
      names=${methodsFor(values, form.settings)}
      words=${Object.fromEntries(named(form.settings, "method").choices)}
      onChange=${(method) => change({ method })}
    />`;
}

export function Measure({ form }) {
  const [metric, direction] = ["metric", "direction"].map((name) => named(form.settings, name));
  const metrics = [...optionsOf(metric), [OTHER, "another, by its name…"]];
  return html`<div class="fields">
    <${ChoiceField} form=${form} name="metric" label=${metric.label} options=${metrics} hint=${metric.help} />
    ${form.values.metric === OTHER && html`<${TextField} form=${form} name="other_metric" label="Metric's name" spellcheck=${false} hint="Of a package installed with the server and its workers" />`}
    <${ChoiceField} form=${form} name="direction" label=${direction.label} options=${optionsOf(direction)} hint=${direction.help} />
    <${TextField} form=${form} name="exact" label="Patched exactly, % of cells" kind="number" min="0" max="100" step="any" hint="A cell is a component of a pair. Default: 5, and at least 30 cells per component. 0: no estimates, no intervals" />
    <${TextField} form=${form} name="exact_per_component" label="Patched exactly, cells per component" kind="number" min="1" step="1" hint="On average, in place of a share; with one, the larger counts. Neurons and edges are patched by share only" />
    <${TextField} form=${form} name="name" label="Name (optional)" maxlength="200" hint="Finds the job later; digits alone are an id, not a name" />
  </div>`;
}
