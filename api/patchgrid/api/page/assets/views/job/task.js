import { jobPath } from "../../core/net/api.js";
import { useData } from "../../core/net/data.js";
import { freshness } from "../../core/net/follow.js";
import { html } from "../../core/ui.js";

/** Number of strongest components whose effects are compared with the rounding floor. */
const STRONGEST = 10;

/** Whether the model does the task, and how much of the largest effects is rounding: the first thing to know of results. */
export function Task({ job }) {
  const top = useData(jobPath(job.job, "components"), { by: "estimate", limit: STRONGEST }, { fresh: freshness(job), when: job.chunks.done > 0 });
  const task = top.data?.task ?? job.task;
  const { line: floor, warning: near } = top.data?.rounding ?? {};
  const warnings = [...(task?.warnings ?? []), ...(near ? [near] : [])];
  if (!task && !floor && warnings.length === 0) return null;
  const told = task?.answers.some((answer) => task.warnings.some((words) => words.includes(answer)));
  return html`<section class=${warnings.length > 0 ? "task note" : "task"} aria-label="Task">
    ${task?.line && html`<p>${task.line}</p>`}
    ${task?.answers.length > 0 && !told && html`<p>First answers as tokens: ${task.answers.join("; ")}</p>`}
    ${floor && html`<p>${floor}</p>`}
    ${warnings.length > 0 && warnings.map((warning) => html`<p>Warning: ${warning}</p>`)}
  </section>`;
}
