import { html } from "../core/ui.js";

const SHOWN = 200;

/** What went wrong, in the API's words, with each bad line and field. */
export function ProblemBox({ problem, retry }) {
  if (!problem) return null;
  return html`<div class="problem" role="alert">
    <p class="lines">
      <strong>${problem.title && problem.title !== problem.message ? `${problem.title}: ` : ""}</strong
      >${summary(problem)}
    </p>
    ${problem.errors?.length > 0 && !isSaid(problem) && html`<${Faults} errors=${problem.errors} />`}
    ${retry && html`<button type="button" onClick=${retry}>Retry</button>`}
  </div>`;
}

/** What the message says besides the faults, each of which has a line of its own. */
function summary(problem) {
  const { message, errors = [] } = problem;
  if (isSaid(problem)) return message;
  const others = message.split("\n").filter((line) => !errors.some((error) => line.includes(error.detail)));
  if (others.length > 0) return others.join("\n");
  return errors.length === 1 ? "1 error" : `${errors.length} errors`;
}

/** Whether the message is about one field, and all that there is to say of it. */
function isSaid({ message, errors = [] }) {
  return errors.length === 1 && errors[0].detail === message;
}

function Faults({ errors }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Errors">
    <table>
      <thead>
        <tr><th scope="col" class="number">line</th><th scope="col">field</th><th scope="col">error</th></tr>
      </thead>
      <tbody>
        ${errors.slice(0, SHOWN).map(
          (error) => html`<tr>
            <td class="number">${error.line ?? (error.row !== undefined && error.row !== null ? `row ${error.row}` : "")}</td>
            <td><code>${error.field ?? ""}</code></td>
            <td class="wrap">${error.detail}</td>
          </tr>`,
        )}
      </tbody>
    </table>
    ${errors.length > SHOWN && html`<p>and ${errors.length - SHOWN} more</p>`}
  </div>`;
}

/** Renders a loaded answer, a loading message, or its problem. */
export function Answer({ of, children, waiting = "Loading…" }) {
  if (of.data) return children(of.data);
  if (of.problem && !of.problem.passing) return html`<${ProblemBox} problem=${of.problem} retry=${of.reload} />`;
  return html`<p class="muted" aria-busy="true">${waiting}</p>`;
}
