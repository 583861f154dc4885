import { ownsJob, useAccess } from "../../core/net/access.js";
import { ask, jobPath } from "../../core/net/api.js";
import { ENDED_JOBS } from "../../../records.js";
import { count } from "../../core/text/format.js";
import { go } from "../../core/nav/route.js";
import { html, useState } from "../../core/ui.js";
import { Confirm } from "../../parts/forms/dialog.js";
import { ProblemBox } from "../../parts/problem.js";

/** State to what can be done then. */
const POSSIBLE = {
  pending: ["pause", "cancel"],
  running: ["pause", "cancel"],
  paused: ["resume", "cancel"],
  failed: ["retry"],
  cancelled: ["retry"],
  done: ["retry"],
};
const ENDINGS = ["cancel", "delete"];
const WORDS = { pause: "Pause", resume: "Resume", cancel: "Cancel…", retry: "Retry failed", delete: "Delete…" };
const SURE = {
  cancel: { yes: "Cancel the job", words: "Chunks being measured are dropped. Stored results stay." },
  delete: { yes: "Delete the job", words: "This deletes its pairs and results permanently." },
};

/** The buttons that steer a job, as far as the token and the job's state allow. */
export function Actions({ job, reload }) {
  const access = useAccess();
  const { may, open, token } = access;
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const [sure, setSure] = useState(null);
  const [said, setSaid] = useState("");
  const own = ownsJob(access, job);
  // A cancelled job lists those who owned it: all of them have withdrawn.
  const others = job.owners.includes(token) && job.state !== "cancelled" ? job.owners.filter((name) => name !== token) : [];
  const makesSense = {
    retry: job.state === "cancelled" || job.pairs.failed > 0,
    // It would stop the other owners' job, too: the server refuses that.
    pause: others.length === 0,
  };
  const steps = (POSSIBLE[job.state] ?? []).filter((what) => makesSense[what] ?? true);
  const possible = [...(may("submit") && own ? steps : []), ...(may("submit") && own && ENDED_JOBS.includes(job.state) ? ["delete"] : [])];
  // Who has withdrawn has nothing left to do here, and is still told so.
  if (possible.length === 0 && !said && !problem) return null;
  // Who is no owner is an admin, and does it to the owners.
  const theirs = own && !open && !job.owners.includes(token) && job.owners.length > 0 ? ` Owners: ${job.owners.join(", ")}.` : "";
  const asked =
    others.length > 0
      ? { yes: "Withdraw from the job", words: `The job continues for its other owners: ${others.join(", ")}.` }
      : sure && { ...SURE[sure], words: SURE[sure].words + theirs };

  async function act(what) {
    setBusy(true);
    setProblem(null);
    setSure(null);
    try {
      if (what === "delete") {
        await ask(jobPath(job.job), { method: "DELETE" });
        go(["jobs"]);
        return;
      }
      const answer = await ask(jobPath(job.job, what), { method: "POST" });
      const left = answer.remaining_owners ?? [];
      const again = what === "retry" ? `Chunks to retry: ${count(answer.chunks_retried)}` : "";
      setSaid(left.length > 0 ? `You withdrew; the job continues for ${left.join(", ")}` : again);
    } catch (error) {
      setProblem(error);
    }
    setBusy(false);
    reload();
  }

  return html`<div class="actions">
      ${possible.map(
        (what) =>
          html`<button key=${what} type="button" class=${ENDINGS.includes(what) ? "danger" : ""} disabled=${busy} onClick=${() => (ENDINGS.includes(what) ? setSure(what) : act(what))}>
            ${WORDS[what]}
          </button>`,
      )}
      <span role="status">${said}</span>
    </div>
    <${ProblemBox} problem=${problem} />
    ${
      sure &&
      html`<${Confirm} title=${`${asked.yes}?`} yes=${asked.yes} onYes=${() => act(sure)} onNo=${() => setSure(null)}>
        <p>${asked.words}</p>
      <//>`
    }`;
}
