import { href } from "../core/nav/route.js";
import { useTitle } from "../core/nav/title.js";
import { html } from "../core/ui.js";

export function Missing() {
  useTitle("Page not found");
  return html`<h1>Page not found</h1>
    <p>There is nothing at this address. <a href=${href(["jobs"])}>All jobs</a></p>`;
}
