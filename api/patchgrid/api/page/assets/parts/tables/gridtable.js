import { labelled } from "../../charts/gridspec.js";
import { number } from "../../core/text/format.js";
import { useKeptState } from "../../core/nav/kept.js";
import { html } from "../../core/ui.js";
import { aligned } from "./decimals.js";

/** A heatmap's numbers as a table, made when it is opened. */
export function GridTable({ caption, corner, rows, columns, cells }) {
  const [open, setOpen] = useKeptState(`${caption}, as a table`, false);
  return html`<details open=${open} onToggle=${(event) => setOpen(event.target.open)}>
    <summary>As a table</summary>
    ${open && html`<${Numbers} caption=${caption} corner=${corner} rows=${rows} columns=${columns} cells=${cells} />`}
  </details>`;
}

function Numbers({ caption, corner, rows, columns, cells }) {
  const values = new Map(cells.map((cell) => [`${cell.row}/${cell.column}`, cell.value]));
  const written = columns.map((_, column) => rows.map((_, place) => number(values.get(`${place}/${column}`))));
  const write = written.map(aligned);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}>
    <table>
      <caption class="hidden">${caption}</caption>
      <thead>
        <tr>
          <th scope="col" class="number">${corner}</th>
          ${columns.map((column) => html`<th scope="col" class="number">${labelled(column)}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row, place) => html`<tr>
            <th scope="row" class="number">${row}</th>
            ${columns.map((_, column) => html`<td class="number">${write[column](written[column][place])}</td>`)}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}
