import { address } from "../core/net/api.js";
import { html } from "../core/ui.js";

/** Plain links to the data behind a view. */
export function DataLinks({ path, params = {}, csv = true, what = "data" }) {
  return html`<span class="links">
    <a href=${address(path, params)} aria-label=${`${what} as JSON`}>JSON</a>
    ${csv && html`<a href=${address(path, { ...params, format: "csv" })} download aria-label=${`${what} as CSV`}>CSV</a>`}
  </span>`;
}
