import { href } from "../core/nav/route.js";
import { useTitle } from "../core/nav/title.js";
import { html } from "../core/ui.js";

export function Missing() {
  useTitle("No such view");
  return html`<h1>No such view</h1>
    <p>The address names nothing that this page has. <a href=${href(["jobs"])}>All jobs</a></p>`;
}
