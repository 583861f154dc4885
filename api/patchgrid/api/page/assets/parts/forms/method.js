import { choose } from "../../core/nav/route.js";
import { html } from "../../core/ui.js";
import { Choice } from "./controls.js";

/** Which of the job's methods; nothing to choose where there is one. */
export function MethodChoice({ job, params }) {
  if (job.methods.length < 2) return null;
  return html`<${Choice} label="Method" value=${methodOf(job, params)} options=${job.methods} onChange=${(method) => choose({ method, cursor: null })} />`;
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
