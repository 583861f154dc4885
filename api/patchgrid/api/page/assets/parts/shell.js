import { signOut } from "../core/net/access.js";
import { lookNow, trouble } from "../core/net/connection.js";
import { href } from "../core/nav/route.js";
import { useStore } from "../core/store.js";
import { setTheme, theme } from "../core/nav/theme.js";
import { html } from "../core/ui.js";

const LINKS = [
  ["jobs", "Jobs", "read"],
  ["workers", "Workers", "read"],
  ["submit", "Submit", "submit"],
];

/** What is around every view: where one is, who one is, and whether the server is there. */
export function Shell({ parts, access, reload, children }) {
  const scopes = access?.scopes ?? [];
  return html`<a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header class="top">
      <a class="brand" href=${href(["jobs"])}>patchgrid</a>
      <nav aria-label="Main">
        ${LINKS.filter(([, , scope]) => scopes.includes(scope)).map(
          ([name, words]) =>
            html`<a key=${name} href=${href([name])} aria-current=${(parts[0] ?? "jobs") === name ? "page" : undefined}>${words}</a>`,
        )}
      </nav>
      <div class="who">
        <${Theme} />
        ${access && !access.open && scopes.length > 0 && html`<${Token} name=${access.token} scopes=${scopes} reload=${reload} />`}
      </div>
    </header>
    <${Banner} />
    ${children}
    <footer>
      <span>patchgrid ${access?.version ?? ""}</span>
      <a href="openapi.json">HTTP API</a>
      <a href="healthz">Health</a>
    </footer>`;
}

function skip(event) {
  // The address holds the view: a link to an anchor would lose it.
  event.preventDefault();
  document.getElementById("main").focus();
}

function Banner() {
  const reason = useStore(trouble);
  return html`<div role="status" class=${reason ? "banner" : "hidden"}>
    ${reason && html`<span>Not connected: ${reason} The data shown may be out of date; reconnecting…</span>
        <button type="button" onClick=${lookNow}>Retry now</button>`}
  </div>`;
}

function Theme() {
  const chosen = useStore(theme);
  return html`<label class="theme" title="Colours">
    <span class="hidden">Colours</span>
    <select value=${chosen} onChange=${(event) => setTheme(event.target.value)}>
      <option value="auto" selected=${chosen === "auto"}>Auto</option>
      <option value="light" selected=${chosen === "light"}>Light</option>
      <option value="dark" selected=${chosen === "dark"}>Dark</option>
    </select>
  </label>`;
}

function Token({ name, scopes, reload }) {
  async function out() {
    try {
      await signOut();
    } finally {
      reload();
    }
  }
  return html`<span class="token-name" title=${`may: ${scopes.join(", ")}`}>${name}</span>
    <button type="button" class="quiet" onClick=${out}>Sign out</button>`;
}
