import { html, useEffect, useRef, useState } from "../core/ui.js";
import { Chart } from "./chart.js";
import { gridSpec } from "./gridspec.js";
import { place, pointed, Tip } from "./tip.js";

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
 * screen readers, `onOpen(cell)` follows a click or Enter.
 */
export function Grid({ label, rows, columns, cells, columnTitle, rowTitle = "layer", legend, tell, words, onOpen, keys }) {
  const view = useRef(null);
  const [mark, setMark] = useState(null);
  const [at, setAt] = useState(null);
  const [said, setSaid] = useState("");
  const byPlace = new Map(cells.map((cell) => [`${cell.row}/${cell.column}`, cell]));
  const live = useRef({});
  live.current = { byPlace, onOpen };

  const cell = mark && byPlace.get(`${mark.row}/${mark.column}`);

  useEffect(() => {
    const shown = view.current;
    if (shown) shown.signal("marked", mark ? `${mark.row}/${mark.column}` : "").runAsync();
  }, [mark?.row, mark?.column]);

  function listen(made) {
    view.current = made;
    made.addEventListener("pointermove", (event, item) => {
      const datum = item?.datum;
      if (datum?.row === undefined) return leave();
      setMark({ row: datum.row, column: datum.column });
      setAt(pointed(made, event));
    });
    made.addEventListener("pointerout", leave);
    made.addEventListener("click", (event, item) => {
      const found = item?.datum && live.current.byPlace.get(`${item.datum.row}/${item.datum.column}`);
      if (found) live.current.onOpen?.(found);
    });
  }

  function leave() {
    setMark(null);
    setAt(null);
  }

  function moveTo(row, column) {
    const next = { row: clamp(row, rows.length), column: clamp(column, columns.length) };
    setMark(next);
    const shown = view.current;
    if (shown) {
      const [left, top] = shown.origin();
      const x = left + shown.scale("x")(next.column) + shown.scale("x").bandwidth();
      setAt(place(shown, x, top + shown.scale("y")(next.row)));
    }
    const found = byPlace.get(`${next.row}/${next.column}`);
    setSaid(found ? words(found) : `${rowTitle} ${rows[next.row]}, ${columnTitle} ${columns[next.column]}: nothing`);
  }

  function pressed(event) {
    const step = STEPS[event.key];
    if (step) {
      event.preventDefault();
      const from = mark ?? { row: 0, column: 0 };
      moveTo(mark ? from.row + step[0] : 0, mark ? from.column + step[1] : 0);
    } else if ((event.key === "Enter" || event.key === " ") && cell) {
      event.preventDefault();
      onOpen?.(cell);
    } else if (event.key === "Escape") leave();
  }

  const box = {
    tabindex: 0,
    role: "application",
    "aria-roledescription": "heatmap",
    "aria-label": `${label}. Arrow keys move from cell to cell${onOpen ? ", Enter opens one" : ""}.`,
    onKeyDown: pressed,
    onFocus: (event) => event.currentTarget.matches(":focus-visible") && moveTo(mark?.row ?? 0, mark?.column ?? 0),
    onBlur: leave,
  };
  return html`<div class=${onOpen ? "grid opens" : "grid"}>
    <${Chart}
      box=${box}
      keys=${[keys, rows, columns]}
      description=${label}
      spec=${(width, colours) => gridSpec({ rows, columns, cells, columnTitle, rowTitle, legend, width, colours })}
      onView=${listen}
    />
    <${Tip} at=${cell && at}>${cell && tell(cell)}<//>
    <p class="hidden" aria-live="polite">${said}</p>
  </div>`;
}

function clamp(value, length) {
  return Math.max(0, Math.min(length - 1, value));
}
