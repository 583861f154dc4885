import { ownsJob, useAccess } from "../../core/net/access.js";
import { ask, jobPath } from "../../core/net/api.js";
import { html, useState } from "../../core/ui.js";
import { CheckField, ChoiceField, TextField } from "../../parts/forms/fields.js";
import { ProblemBox } from "../../parts/problem.js";

const KINDS = [
  ["certify", "Until the largest are certain"],
  ["top", "The largest components"],
  ["components", "Named components"],
  ["exact", "More cells"],
];
const BEGUN = { kind: "certify", certify: "10", confidence: "95", tolerance: "5", max_exact: "30", signed: false, top: "10", components: "", exact: "5" };
const share = (text) => Number(text) / 100;

/** The body of a request. */
function bodyOf({ kind, ...values }) {
  if (kind === "components") {
    return {
      components: values.components
        .split(",")
        .map((name) => name.trim())
        .filter(Boolean),
    };
  }
  if (kind === "exact") return { exact: share(values.exact) };
  if (kind === "top") return { top: Number(values.top) };
  return {
    certify: Number(values.certify),
    confidence: share(values.confidence),
    tolerance: share(values.tolerance),
    max_exact: share(values.max_exact),
    ranking: values.signed ? "signed" : "size",
  };
}

/** A form that has more of a job patched exactly, for those who may. */
export function Refine({ job, reload }) {
  const access = useAccess();
  const [values, setValues] = useState(BEGUN);
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  if (job.state !== "done" || !access.may("submit") || !ownsJob(access, job)) return null;
  const errors = Object.fromEntries((problem?.errors ?? []).map(({ field, detail }) => [field, detail]));
  const form = { values, errors, change: (changes) => setValues((last) => ({ ...last, ...changes })) };

  async function send(event) {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await ask(jobPath(job.job, "refine"), { method: "POST", json: bodyOf(values) });
      reload();
    } catch (error) {
      setProblem(error);
    }
    setBusy(false);
  }

  return html`<details class="refine">
    <summary>Patch more exactly</summary>
    <form onSubmit=${send}>
      <div class="fields">
        <${ChoiceField} form=${form} name="kind" label="Patch" options=${KINDS} hint="Nothing is patched twice." />
        <${Fields} form=${form} />
      </div>
      <p class="actions"><button type="submit" class="main" disabled=${busy}>Patch</button></p>
      <${ProblemBox} problem=${problem} />
    </form>
  </details>`;
}

/** The fields of one kind of refinement. */
function Fields({ form }) {
  const percentField = (name, label, hint) => html`<${TextField} form=${form} name=${name} label=${label} hint=${hint} kind="number" min="0" max="100" step="any" required />`;
  if (form.values.kind === "exact") return percentField("exact", "Cells, %", "Of all cells, where it improves estimates most.");
  if (form.values.kind === "top") {
    return html`<${TextField} form=${form} name="top" label="Components" hint="Those of largest |estimate|, in every pair." kind="number" min="1" step="1" required />`;
  }
  if (form.values.kind === "components") {
    return html`<${TextField} form=${form} name="components" label="Names" hint="Every pair of these: a9.h6, m5" required />`;
  }
  return html`<${TextField} form=${form} name="certify" label="Largest components" hint="How many components to certify." kind="number" min="1" step="1" required />
    ${percentField("confidence", "Confidence, %", "Of the whole certificate.")}
    ${percentField("tolerance", "Tolerance, %", "Components closer than this share of the last one count as equal.")}
    ${percentField("max_exact", "Most cells, %", "The certificate stops once this share of all cells is patched.")}
    <${CheckField} form=${form} name="signed" label="Signed" hint="Rank by mean effect, not by its size." />`;
}
