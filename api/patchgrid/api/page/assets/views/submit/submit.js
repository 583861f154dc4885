import { useAccess } from "../../core/net/access.js";
import { useData } from "../../core/net/data.js";
import { percent } from "../../core/text/format.js";
import { notice } from "../../core/nav/notice.js";
import { go } from "../../core/nav/route.js";
import { useTitle } from "../../core/nav/title.js";
import { html, useEffect, useRef, useState } from "../../core/ui.js";
import { freshKey, submitJob } from "../../core/net/upload.js";
import { FileField } from "../../parts/forms/filefield.js";
import { ProblemBox } from "../../parts/problem.js";
import { MoreSettings } from "./moresettings.js";
import { takenApart } from "./refusals.js";
import { rareOf, settingsOf } from "./settings.js";
import { faultOf, faultsOf, initialValues, modelKey, specOf } from "./spec.js";
import { Measure, ModelField, Sites } from "./specfields.js";

/** Send a pair file to be measured. */
export function Submit() {
  useTitle("Submit");
  const { may } = useAccess();
  const api = useData("openapi.json");
  if (!may("submit")) return html`<h1>Submit</h1><p class="empty">Your token may read, not submit.</p>`;
  if (!api.data) return html`<h1>Submit a job</h1><${ProblemBox} problem=${api.problem} />`;
  return html`<${Form} settings=${settingsOf(api.data)} />`;
}

function Form({ settings }) {
  const { limits } = useAccess();
  const models = useData("v1/models");
  const [values, setValues] = useState(() => initialValues(settings));
  const [file, setFile] = useState(null);
  const [sent, setSent] = useState(null);
  const [problem, setProblem] = useState(null);
  const [errors, setErrors] = useState({});
  const [refused, setRefused] = useState(0);
  const [more, setMore] = useState(false);
  const key = useRef(freshKey());
  const control = useRef(null);
  const box = useRef(null);
  useEffect(() => {
    if (refused > 0) box.current?.querySelector("[aria-invalid]")?.focus();
  }, [refused]);

  const found = models.data?.items ?? [];
  const filled = { ...values, model: values.model || (found[0] ? modelKey(found[0]) : "") };
  const fault = faultOf(filled, settings, file, limits);
  const form = { settings, values: filled, errors, change };

  function change(changes) {
    // Other choices are another job: they must not be answered with the last one.
    key.current = freshKey();
    setProblem(null);
    setErrors((last) => Object.fromEntries(Object.entries(last).filter(([name]) => !(name in changes))));
    setValues((last) => ({ ...last, ...changes }));
  }

  function choose(chosen) {
    key.current = freshKey();
    setProblem(null);
    setFile(chosen);
  }

  /** Show what is wrong by the fields, and go to the first of them. */
  function refuse(fields) {
    setErrors(fields);
    if (rareOf(settings).some(({ name }) => name in fields)) setMore(true);
    setRefused((last) => last + 1);
  }

  async function send(event) {
    event.preventDefault();
    const faults = faultsOf(filled, settings);
    if (Object.keys(faults).length > 0) return refuse(faults);
    control.current = new AbortController();
    setProblem(null);
    setErrors({});
    setSent(0);
    try {
      const answer = await submitJob({ spec: specOf(filled, settings), file, key: key.current, onSent: setSent, signal: control.current.signal });
      const there = answer.created
        ? []
        : [`This job already exists (same pairs and settings)${answer.reopened ? "; it was cancelled and is now reopened" : ""}.`];
      notice.set({ job: answer.job, words: [...there, ...(answer.notes ?? [])] });
      go(["jobs", answer.job]);
    } catch (error) {
      const { fields, rest } = takenApart(error, filled);
      setProblem(rest);
      setSent(null);
      refuse(fields);
    }
  }

  return html`<h1>Submit a job</h1>
    <form class="submit" ref=${box} noValidate onSubmit=${send}>
      <fieldset disabled=${sent !== null}>
        <legend class="hidden">The job</legend>
        <${FileField} file=${file} onFile=${choose} limit=${limits?.upload_bytes} />
        <${ModelField} form=${form} models=${models} />
        <${Sites} form=${form} />
        <${Measure} form=${form} />
        <${MoreSettings} form=${form} open=${more} onToggle=${setMore} />
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
          <progress max="1" value=${sent} aria-label="Sent" /> ${sent < 1 ? `${percent(sent)} sent` : "Sent; the server is reading the file…"}
        </p>`
      }
      ${Object.keys(errors).length > 0 && html`<p class="problem" role="alert">Not submitted: ${wrongWords(errors)}</p>`}
      <${ProblemBox} problem=${problem} />
    </form>`;
}

function wrongWords(errors) {
  const [[name, first], ...others] = Object.entries(errors);
  return others.length === 0 ? `${name.replace(/_/g, " ")}: ${first}` : `${1 + others.length} fields are marked.`;
}
