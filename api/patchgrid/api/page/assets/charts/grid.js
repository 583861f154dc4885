import { html } from "../core/ui.js";
import { gridSpec, labelled } from "./gridspec.js";
import { originOf } from "./tip.js";
import { Walk } from "./walk.js";

const STEPS = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  Home: [0, -Infinity],
  End: [0, Infinity],
  PageUp: [-Infinity, 0],
  PageDown: [Infinity, 0],
};

/**
 * A heatmap, layers down and `columns` across, colours centred at 0.
 *
 * A cell is `{row, column, value, clear?, …}` with indices; `tell(cell)` gives its hint, `words(cell)` the same for
 * screen readers, `onOpen(cell)` follows a click or Enter; `none` says why a cell may have no value;
 * `stretched` colours tell small values apart; `atEnd` shows the last columns first where not all have room.
 */
export function Grid({ label, rows, columns, cells, columnTitle, rowTitle = "layer", legend, none, stretched, atEnd = false, tell, words, onOpen, keys }) {
  const byId = new Map(cells.map((cell) => [`${cell.row}/${cell.column}`, cell]));
  const marks = {
    idOf: (datum) => (datum.row === undefined ? null : `${datum.row}/${datum.column}`),
    get: (id) => byId.get(id),
    move: (id, key) => moved(id, STEPS[key], rows.length, columns.length),
    spot: spotOf,
  };

  function said(id) {
    const cell = byId.get(id);
    const [row, column] = placeOf(id);
    return cell ? words(cell) : `${rowTitle} ${rows[row]}, ${columnTitle ?? "column"} ${labelled(columns[column])}: nothing`;
  }

  return html`${none && cells.some((cell) => cell.value === null) && html`<p class="muted">Grey: ${none}.</p>`}
    <${Walk}
      label=${label}
      kind="heatmap"
      keysHint="Arrow keys move from cell to cell"
      marks=${marks}
      spec=${(width, colours) => gridSpec({ rows, columns, cells, columnTitle, rowTitle, legend, stretched, atEnd, width, colours })}
      keys=${[keys, rows, columns, stretched]}
      atEnd=${atEnd}
      tell=${tell}
      words=${said}
      onOpen=${onOpen}
    />`;
}

const placeOf = (id) => id.split("/").map(Number);

function moved(id, step, rows, columns) {
  if (!step) return undefined;
  if (id === null) return "0/0";
  const [row, column] = placeOf(id);
  return `${clamp(row + step[0], rows)}/${clamp(column + step[1], columns)}`;
}

function spotOf(view, id) {
  const [row, column] = placeOf(id);
  const [left, top] = originOf(view);
  const x = view.scale("x");
  return [left + x(column) + x.bandwidth(), top + view.scale("y")(row)];
}

function clamp(value, length) {
  return Math.max(0, Math.min(length - 1, value));
}
