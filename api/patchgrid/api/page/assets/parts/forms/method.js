import { choose } from "../../core/nav/route.js";
import { isPatched } from "../../core/text/budget.js";
import { html } from "../../core/ui.js";
import { Choice } from "./controls.js";

/** All of a job's methods together, as estimates are made by default. */
const COMBINED = "combined";

/** Which of the job's methods; nothing to choose where there is one. */
export function MethodChoice({ job, params }) {
  if (job.methods.length < 2) return null;
  return html`<${Choice} label="Method" value=${methodOf(job, params)} options=${job.methods} onChange=${(method) => choose({ method, cursor: null })} />`;
}

/** By what a job's components are estimated: all of its methods together, or one. */
export function EstimatorChoice({ job, params }) {
  const names = estimators(job);
  if (names.length < 2) return null;
  const options = names.map((name) => (name === COMBINED ? [name, "all together"] : [name, name]));
  return html`<${Choice} label="Method" value=${estimatorOf(job, params)} options=${options} onChange=${(method) => choose({ method, cursor: null })} />`;
}

/** All of a job's methods together, if it has several and patched some cells, and each of them. */
export function estimators(job) {
  return job.methods.length > 1 && isPatched(job) ? [COMBINED, ...job.methods] : job.methods;
}

export function estimatorOf(job, params) {
  const names = estimators(job);
  return names.includes(params.method) ? params.method : names[0];
}

export function methodOf(job, params) {
  return job.methods.includes(params.method) ? params.method : job.methods[0];
}

/** What to say of a site of which nothing can be drawn. */
export function Unmeasured({ job }) {
  return html`<p class="empty">
    ${job.state === "pending" ? "No results yet: the job is pending." : "No results yet: no chunk is done."}
  </p>`;
}
