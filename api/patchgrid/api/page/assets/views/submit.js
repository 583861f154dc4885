import { useAccess } from "../core/access.js";
import { useData } from "../core/data.js";
import { percent } from "../core/format.js";
import { notice } from "../core/notice.js";
import { go } from "../core/route.js";
import { useTitle } from "../core/title.js";
import { html, useRef, useState } from "../core/ui.js";
import { freshKey, submitJob } from "../core/upload.js";
import { FileField } from "../parts/filefield.js";
import { ProblemBox } from "../parts/problem.js";
import { DEFAULTS, faultOf, modelKey, specOf } from "./spec.js";
import { Advanced, Measure, ModelField, Sites } from "./specfields.js";

/** Send a pair file to be measured. */
export function Submit() {
  useTitle("Submit");
  const { may, limits } = useAccess();
  const models = useData("v1/models");
  const [values, setValues] = useState(DEFAULTS);
  const [file, setFile] = useState(null);
  const [sent, setSent] = useState(null);
  const [problem, setProblem] = useState(null);
  const key = useRef(freshKey());
  const control = useRef(null);

  if (!may("submit")) return html`<h1>Submit</h1><p class="empty">Your token may read, not submit.</p>`;

  const found = models.data?.items ?? [];
  const filled = { ...values, model: values.model || (found[0] ? modelKey(found[0]) : "") };
  const fault = faultOf(filled, file, limits);

  function change(changes) {
    // Other choices are another job: they must not be answered with the last one.
    key.current = freshKey();
    setProblem(null);
    setValues((last) => ({ ...last, ...changes }));
  }

  function choose(chosen) {
    key.current = freshKey();
    setProblem(null);
    setFile(chosen);
  }

  async function send(event) {
    event.preventDefault();
    control.current = new AbortController();
    setProblem(null);
    setSent(0);
    try {
      const answer = await submitJob({ spec: specOf(filled), file, key: key.current, onSent: setSent, signal: control.current.signal });
      const there = answer.created ? [] : ["This job was there already: the same pairs under the same settings."];
      notice.set({ job: answer.job, words: [...there, ...(answer.notes ?? [])] });
      go(["jobs", answer.job]);
    } catch (error) {
      setProblem(error);
      setSent(null);
    }
  }

  return html`<h1>Submit a job</h1>
    <form class="submit" onSubmit=${send}>
      <fieldset disabled=${sent !== null}>
        <legend class="hidden">The job</legend>
        <${FileField} file=${file} onFile=${choose} limit=${limits?.upload_bytes} />
        <${ModelField} values=${filled} change=${change} models=${models} />
        <${Sites} values=${filled} change=${change} />
        <${Measure} values=${filled} change=${change} />
        <${Advanced} values=${filled} change=${change} />
      </fieldset>
      ${fault && file && html`<p class="note">${fault}</p>`}
      <p class="actions">
        <button type="submit" class="main" disabled=${Boolean(fault) || sent !== null}>Submit</button>
        ${!file && html`<span class="muted">Choose a pair file first.</span>`}
        ${sent !== null && html`<button type="button" onClick=${() => control.current.abort()}>Stop</button>`}
      </p>
      ${
        sent !== null &&
        html`<p role="status">
          <progress max="1" value=${sent} aria-label="Sent" /> ${sent < 1 ? `${percent(sent)} sent` : "All sent; the server reads it…"}
        </p>`
      }
      <${ProblemBox} problem=${problem} />
    </form>`;
}
