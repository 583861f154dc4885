import { html } from "../../core/ui.js";
import { aligned } from "./decimals.js";

/**
 * Rows in a box that scrolls by itself; numbers stand with their decimal points below each other.
 *
 * A column is `{key, title, number?, sort?, hint?, wrap?, cell(row)}`; `sort` is `{by, down}`, `onSort(by, down)`
 * makes the columns that say so sortable.
 */
export function Table({ caption, columns, rows, rowKey, sort, onSort, empty = "Nothing here." }) {
  if (rows.length === 0) return html`<p class="empty">${empty}</p>`;
  const written = columns.map((column) => rows.map((row) => column.cell(row)));
  const write = columns.map((column, place) => (column.number ? aligned(written[place]) : (text) => text));
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}>
    <table>
      <caption class="hidden">${caption}</caption>
      <thead>
        <tr>${columns.map((column) => html`<${Head} key=${column.key} column=${column} sort=${sort} onSort=${onSort} />`)}</tr>
      </thead>
      <tbody>
        ${rows.map(
          (row, index) => html`<tr key=${rowKey ? rowKey(row) : index}>
            ${columns.map((column, place) => {
              const kind = [column.number && "number", column.wrap && "wrap"].filter(Boolean).join(" ");
              return column.header
                ? html`<th scope="row" class=${kind}>${write[place](written[place][index])}</th>`
                : html`<td class=${kind}>${write[place](written[place][index])}</td>`;
            })}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function Head({ column, sort, onSort }) {
  const kind = column.number ? "number" : "";
  if (!column.sort || !onSort) return html`<th scope="col" class=${kind} title=${column.hint}>${column.title}</th>`;
  const on = sort?.by === column.key;
  const order = on ? (sort.down ? "descending" : "ascending") : undefined;
  return html`<th scope="col" class=${kind} aria-sort=${order} title=${column.hint}>
    <button type="button" class="sort" onClick=${() => onSort(column.key, on ? !sort.down : Boolean(column.number))}>
      ${column.title}<span aria-hidden="true">${on ? (sort.down ? " ↓" : " ↑") : ""}</span>
    </button>
  </th>`;
}

/** Names and values, one a line. */
export function Facts({ rows, label }) {
  return html`<dl class="facts" aria-label=${label}>
    ${rows
      .filter((row) => row && row[1] !== null && row[1] !== undefined && row[1] !== "")
      .map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}
