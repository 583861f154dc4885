import { useAccess } from "../core/access.js";
import { ask, jobPath } from "../core/api.js";
import { count } from "../core/format.js";
import { html, useState } from "../core/ui.js";
import { Confirm } from "../parts/dialog.js";
import { ProblemBox } from "../parts/problem.js";

/** State to what can be done then. */
const POSSIBLE = {
  pending: ["pause", "cancel"],
  running: ["pause", "cancel"],
  paused: ["resume", "cancel"],
  failed: ["retry"],
  cancelled: ["retry"],
  done: ["retry"],
};
const WORDS = { pause: "Pause", resume: "Resume", cancel: "Cancel…", retry: "Retry failed" };

/** The buttons that steer a job, as far as the token and the job's state allow. */
export function Actions({ job, reload }) {
  const { may, open, token } = useAccess();
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const [sure, setSure] = useState(false);
  const [said, setSaid] = useState("");
  const own = open || may("admin") || job.submitted_by === token;
  const possible = (POSSIBLE[job.state] ?? []).filter((what) => what !== "retry" || job.state === "cancelled" || job.pairs.failed > 0);
  if (!may("submit") || !own || possible.length === 0) return null;

  async function act(what) {
    setBusy(true);
    setProblem(null);
    setSure(false);
    try {
      const answer = await ask(jobPath(job.job, what), { method: "POST" });
      setSaid(what === "retry" ? `Chunks to be measured again: ${count(answer.chunks_again)}` : "");
    } catch (error) {
      setProblem(error);
    }
    setBusy(false);
    reload();
  }

  return html`<div class="actions">
      ${possible.map(
        (what) =>
          html`<button key=${what} type="button" class=${what === "cancel" ? "danger" : ""} disabled=${busy} onClick=${() => (what === "cancel" ? setSure(true) : act(what))}>
            ${WORDS[what]}
          </button>`,
      )}
      <span role="status">${said}</span>
    </div>
    <${ProblemBox} problem=${problem} />
    ${
      sure &&
      html`<${Confirm} title="Cancel this job?" yes="Cancel the job" onYes=${() => act("cancel")} onNo=${() => setSure(false)}>
        <p>Chunks that are measured now are given up. What was measured stays.</p>
      <//>`
    }`;
}
