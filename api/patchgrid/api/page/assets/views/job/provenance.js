import { html } from "../../core/ui.js";
import { Copy } from "../../parts/copy.js";
import { Facts } from "../../parts/tables/table.js";

/** What made the numbers: model, weights, versions, device. */
export function Provenance({ made }) {
  return html`<section aria-labelledby="provenance">
    <div class="head"><h2 id="provenance">Provenance</h2></div>
    ${made.length === 0 && html`<p class="empty">No results yet.</p>`}
    ${made.length > 1 && html`<p class="note">Parts of this job were measured by different versions or on different devices.</p>`}
    ${made.map((each) => {
      const { versions = {}, ...rest } = each;
      const rows = Object.entries(rest)
        .filter(([, value]) => typeof value !== "object")
        .map(([name, value]) => [name.replace(/_/g, " "), /hash/.test(name) ? html`<code class="long">${value}</code><${Copy} text=${value} what=${`the ${name.replace(/_/g, " ")}`} />` : String(value)]);
      return html`<${Facts}
        label="Provenance"
        rows=${[...rows, ["versions", Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ")]]}
      />`;
    })}
  </section>`;
}
