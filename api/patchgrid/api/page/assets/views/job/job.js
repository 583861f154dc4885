import { jobPath } from "../../core/net/api.js";
import { useData } from "../../core/net/data.js";
import { ENDED_JOBS } from "../../../records.js";
import { useFollowed } from "../../core/net/follow.js";
import { shortModel } from "../../core/text/format.js";
import { notice } from "../../core/nav/notice.js";
import { href } from "../../core/nav/route.js";
import { useStore } from "../../core/store.js";
import { useTitle } from "../../core/nav/title.js";
import { html, useEffect, useRef, useState } from "../../core/ui.js";
import { ProblemBox } from "../../parts/problem.js";
import { State } from "../../parts/progress.js";
import { Agreement } from "../results/agreement.js";
import { Component } from "../results/component.js";
import { Components } from "../results/components.js";
import { Heads } from "../results/heads.js";
import { Missing } from "../missing.js";
import { Pair } from "../pair/pair.js";
import { Pairs } from "../pair/pairs.js";
import { Positions } from "../results/positions.js";
import { Summary } from "./summary.js";
import { Task } from "./task.js";

const TABS = [
  ["", "Summary", Summary],
  ["heads", "Layer × head", Heads],
  ["positions", "Layer × position", Positions],
  ["agreement", "Score vs exact", Agreement],
  ["components", "Components", Components],
  ["pairs", "Pairs", Pairs],
];
const DEEPER = { components: Component, pairs: Pair };
/** Not about all of the job: whether the model does the task is said of each pair there. */
const BY_PAIR = ["pairs"];
/** What keeps its meaning from one view of a job to another. */
const KEPT = ["method", "site"];

/** What an event changes of a job. */
function changedOf({ state, pairs, rounds, refinement }) {
  return { state, pairs, rounds, refinement };
}

/** A job: its heading, its views. */
export function Job({ id, parts, params }) {
  const job = useData(jobPath(id));
  // Incremented when the event stream broke or ended: it is reopened if the job still runs.
  const [turn, setTurn] = useState(0);
  const running = Boolean(job.data) && !ENDED_JOBS.includes(job.data.state);
  const number = job.data?.job ?? id;
  const { snapshot, rate } = useFollowed(number, running && `${job.data.state}${turn}`, () => {
    setTurn((last) => last + 1);
    job.reload();
  });
  const said = useStore(notice);
  const [tab = "", ...rest] = parts;
  const known = TABS.find(([name]) => name === tab);
  const View = rest.length === 0 ? known?.[2] : rest.length === 1 ? DEEPER[tab] : undefined;
  const tabs = useRef(null);
  // On a narrow screen the current one may be out of sight.
  useEffect(() => tabs.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" }), [tab, Boolean(job.data)]);
  useTitle(rest[0], known?.[1], job.data?.name ?? `Job ${id}`);

  if (!job.data) {
    return html`<nav class="crumbs" aria-label="Breadcrumb"><a href=${href(["jobs"])}>Jobs</a></nav>
      <h1>Job ${id}</h1>
      ${job.problem && !job.problem.passing ? html`<${ProblemBox} problem=${job.problem} retry=${job.reload} />` : html`<p class="muted" aria-busy="true">Loading…</p>`}`;
  }
  const live = running && snapshot ? { ...job.data, ...changedOf(snapshot), chunks: { ...job.data.chunks, ...snapshot.chunks } } : job.data;
  const told = said?.job === live.job ? said.words : [];
  const kept = Object.fromEntries(KEPT.map((name) => [name, params[name]]));
  return html`<nav class="crumbs" aria-label="Breadcrumb">
      <a href=${href(["jobs"])}>Jobs</a> <span aria-hidden="true">/</span> <a href=${href(["jobs", id])}>${number}</a>
    </nav>
    <div class="head">
      <h1>${live.name ?? `Job ${live.job}`}</h1>
      <${State} state=${live.state} />
      <span class="muted">${shortModel(live.spec.model)} · ${live.spec.sites.join(", ")} · ${live.methods.join(", ")} · ${live.spec.metric}</span>
    </div>
    ${told.length > 0 && html`<div class="note" role="status">${told.map((words) => html`<p>${words}</p>`)}</div>`}
    <nav class="tabs" ref=${tabs} aria-label="Views of this job">
      ${TABS.map(
        ([name, words]) =>
          html`<a key=${name} href=${href(name ? ["jobs", id, name] : ["jobs", id], name ? kept : {})} aria-current=${name === tab ? "page" : undefined}>${words}</a>`,
      )}
    </nav>
    ${known && rest.length === 0 && !BY_PAIR.includes(tab) && html`<${Task} job=${live} />`}
    ${View ? html`<${View} job=${live} snapshot=${snapshot} rate=${rate} reload=${job.reload} params=${params} name=${rest[0]} />` : html`<${Missing} />`}`;
}
