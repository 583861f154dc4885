import { html } from "../../core/ui.js";
import { CheckField, ChoiceField, TextField } from "../../parts/forms/fields.js";
import { optionsOf, RANGES } from "./spec.js";

const POSITIONS = [
  ["sum", "all positions at once"],
  ["keep", "each position separately"],
];
const DETAILS = [
  ["summary", "no scores per pair"],
  ["pairs", "scores of each pair"],
  ["positions", "scores of each pair and position"],
];
const SOURCES = [
  ["pair", "the other prompt's activation"],
  ["mean", "the mean over the job's pairs"],
  ["zero", "zero"],
];
const PATHS = [
  ["embedding", "the model's input"],
  ["site", "each site separately"],
];
const BOS = [["", "the tokenizer's default"], "yes", "no"];
/** The fields in here, to open the section for an error. */
export const RARE = ["positions", "source", "prepend_bos", "limit", "columns", "steps", "path", "grad_drop", "only_correct", "detail", "dtype", "seed", "chunk_size", "priority", "key"];

/** Settings that few jobs change. */
export function MoreSettings({ form, open, onToggle }) {
  return html`<details class="more" open=${open} onToggle=${(event) => onToggle(event.target.open)}>
    <summary>More settings</summary>
    <${Group} legend="What is measured"><${Measured} form=${form} /><//>
    <${Group} legend="Options of methods"><${MethodOptions} form=${form} /><//>
    <${Group} legend="Running and storing"><${Running} form=${form} /><//>
  </details>`;
}

function Group({ legend, children }) {
  return html`<fieldset class="group">
    <legend>${legend}</legend>
    <div class="fields">${children}</div>
  </fieldset>`;
}

function Measured({ form }) {
  return html`<${ChoiceField} form=${form} name="positions" label="A component is" options=${POSITIONS} hint="Separate positions are aligned from the end, or by named spans. Default: all at once" />
    <${ChoiceField} form=${form} name="source" label="Patch in" options=${SOURCES} hint="Activations that replace those of the base run. Default: the other prompt's" />
    <${ChoiceField} form=${form} name="prepend_bos" label="BOS token first" options=${BOS} hint="A beginning-of-sequence token before each prompt" />
    <${CheckField} form=${form} name="only_correct" label="Only correct" hint="Skip pairs whose clean run does not prefer the correct answer. Default: off" />
    <${Whole} form=${form} name="limit" label="First pairs only" hint="Number of pairs to read. Default: all" />
    <${TextField} form=${form} name="columns" label="Columns (optional)" maxlength="2000" spellcheck=${false} hint="Columns by field, such as correct=country_idx,incorrect=other_idx. Default: recognized from the file" />`;
}

function MethodOptions({ form }) {
  const has = optionsOf(form.values);
  return html`<${Whole} form=${form} name="steps" label="Points of the path" disabled=${!has.steps} hint="For ig and eap-ig: number of points to average gradients over. Default: 5" />
    <${ChoiceField} form=${form} name="path" label="Path" options=${PATHS} disabled=${!has.path} hint="For ig: what to interpolate. Each site separately is slower, one layer at a time. Default: the model's input" />
    <${CheckField}
      form=${form}
      name="grad_drop"
      label="GradDrop"
      disabled=${!has.grad_drop}
      hint="For atp*: finds effects that cancel within a pair; scores lose their sign and take longer. Default: off"
    />`;
}

function Running({ form }) {
  return html`<${ChoiceField} form=${form} name="detail" label="Store" options=${DETAILS} hint="Scores by position need the most space, and colour tokens. Default: scores of each pair" />
    <${ChoiceField} form=${form} name="dtype" label="Number type" options=${["auto", "float32", "bfloat16", "float16"]} hint="Number type of the model. Default: auto, the checkpoint's" />
    <${Whole} form=${form} name="seed" label="Seed" hint="Random seed of the exact sample. Default: 0" />
    <${Whole} form=${form} name="chunk_size" label="Pairs per chunk" hint="A chunk is measured and stored as one. Default: an eighth of the pairs, from 16 to 64" />
    <${Whole} form=${form} name="priority" label="Priority" hint="Jobs with higher priority run first. Default: 0" />
    <${TextField} form=${form} name="key" label="Key (optional)" maxlength="64" spellcheck=${false} hint="Idempotency key. Default: the hash of pairs and settings" />`;
}

function Whole({ form, name, ...rest }) {
  const [min, max] = RANGES[name];
  return html`<${TextField} form=${form} name=${name} kind="number" step="1" min=${min} max=${max} ...${rest} />`;
}
