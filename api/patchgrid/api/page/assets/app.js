import { Access, useAskedAccess } from "./core/net/access.js";
import { restore } from "./core/nav/entries.js";
import { route } from "./core/nav/route.js";
import { useStore } from "./core/store.js";
import { html, render, useEffect, useErrorBoundary, useRef } from "./core/ui.js";
import { Shell } from "./parts/shell.js";
import { Job } from "./views/job/job.js";
import { Jobs } from "./views/jobs.js";
import { Missing } from "./views/missing.js";
import { SignIn } from "./views/signin.js";
import { Submit } from "./views/submit/submit.js";
import { Workers } from "./views/workers.js";

const VIEWS = { jobs: Jobs, workers: Workers, submit: Submit, signin: SignIn };

function View({ route: { parts, params }, access, reload }) {
  const [first = "jobs", ...rest] = parts;
  const [fault, mend] = useErrorBoundary((error) => console.error(error));
  const path = parts.join("/");
  useEffect(() => mend(), [path]);
  if (fault) {
    return html`<h1>This view failed</h1>
      <p>${fault.message}</p>
      <p><button type="button" onClick=${mend}>Retry</button></p>`;
  }
  if (access.scopes.length === 0 || first === "signin") return html`<${SignIn} reload=${reload} />`;
  if (first === "jobs" && rest.length > 0) return html`<${Job} key=${rest[0]} id=${rest[0]} parts=${rest.slice(1)} params=${params} />`;
  const Found = rest.length === 0 ? (VIEWS[first] ?? Missing) : Missing;
  return html`<${Found} params=${params} />`;
}

function App() {
  const asked = useAskedAccess();
  const now = useStore(route);
  const main = useRef(null);
  const shown = useRef(null);
  const place = now.parts.join("/");

  // A new view is a new page: screen readers read its heading, and scrolling starts at the top.
  useEffect(() => {
    const before = shown.current;
    shown.current = place;
    if (now.back) return restore(main.current);
    if (before !== null && before !== place) {
      scrollTo(0, 0);
      main.current.focus({ preventScroll: true });
    }
    return undefined;
  }, [now.entry]);

  const access = asked.data;
  return html`<${Access.Provider} value=${access ?? undefined}>
    <${Shell} parts=${now.parts} access=${access} reload=${asked.reload}>
      <main id="main" ref=${main} tabindex="-1">
        ${
          access
            ? html`<${View} route=${now} access=${access} reload=${asked.reload} />`
            : html`<h1>patchgrid</h1>
                <p class="muted" aria-busy="true">${asked.problem ? asked.problem.message : "Loading…"}</p>`
        }
      </main>
    <//>
  <//>`;
}

render(html`<${App} />`, document.getElementById("app"));
