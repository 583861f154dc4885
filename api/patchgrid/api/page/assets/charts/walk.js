import { keepValue, keptValue } from "../core/nav/entries.js";
import { html, useEffect, useRef, useState } from "../core/ui.js";
import { Chart } from "./chart.js";
import { place, pointed, Tip } from "./tip.js";

/**
 * A chart whose marks are pointed at, walked over by keys, and opened: one tab stop; a mark is told beside it and said.
 *
 * A mark has an id, a text. `marks` knows them: `idOf(datum)` gives one or null, `get(id)` what it stands for or
 * undefined, `move(id, key)` the next one (`id` null: the first) or undefined where the key moves nothing,
 * `spot(view, id)` where it is drawn. The description of the chart has a parameter `marked`, the id or "".
 * `atEnd` shows the right end of a chart that is wider than its room first. `tell(thing)` gives a hint, `words(id)` the same for screen readers, `onOpen(thing)` follows a click or Enter.
 */
export function Walk({ label, kind, keysHint, marks, spec, keys, atEnd, tell, words, onOpen }) {
  const view = useRef(null);
  const [mark, setMark] = useState(null);
  const [at, setAt] = useState(null);
  const [said, setSaid] = useState("");
  const live = useRef({});
  live.current = { marks, open, mark };
  const thing = mark === null ? undefined : marks.get(mark);
  // The mark that was opened from here, when the reader comes back.
  const start = useRef(keptValue(label));

  useEffect(() => show(view.current, mark), [mark]);

  function leave() {
    setMark(null);
    setAt(null);
    setSaid("");
  }

  function listen(made) {
    view.current = made;
    if (!made) return;
    show(made, live.current.mark);
    const under = (item) => (item?.datum ? live.current.marks.idOf(item.datum) : null);
    made.addEventListener("pointermove", (event, item) => {
      const id = under(item);
      if (id === null) return leave();
      setMark(id);
      setAt(pointed(made, event));
    });
    made.addEventListener("pointerout", leave);
    made.addEventListener("click", (_, item) => {
      const id = under(item);
      if (id !== null) live.current.open(id);
    });
  }

  function open(id) {
    const found = marks.get(id);
    if (found === undefined) return;
    keepValue(label, id);
    onOpen?.(found);
  }

  function moveTo(id) {
    if (id === undefined) return;
    setMark(id);
    setSaid(words(id));
    if (view.current) setAt(place(view.current, ...marks.spot(view.current, id)));
  }

  function pressed(event) {
    const next = marks.move(mark, event.key);
    if (next !== undefined) {
      event.preventDefault();
      moveTo(next);
    } else if ((event.key === "Enter" || event.key === " ") && thing !== undefined) {
      event.preventDefault();
      open(mark);
    } else if (event.key === "Escape") leave();
  }

  const box = {
    tabindex: 0,
    role: "application",
    "aria-roledescription": kind,
    "aria-label": `${label}. ${keysHint}${onOpen ? ", Enter opens one" : ""}.`,
    onKeyDown: pressed,
    onFocus: (event) => event.currentTarget.matches(":focus-visible") && moveTo(mark ?? (marks.get(start.current) === undefined ? marks.move(null, "Home") : start.current)),
    onBlur: leave,
  };
  return html`<div class=${onOpen ? "grid opens" : "grid"}>
    <${Chart} box=${box} keys=${keys} atEnd=${atEnd} description=${label} spec=${spec} onView=${listen} />
    <${Tip} at=${thing !== undefined && at}>${thing !== undefined && tell(thing)}<//>
    <p class="hidden" aria-live="polite">${said}</p>
  </div>`;
}

function show(view, mark) {
  if (view) view.signal("marked", mark ?? "").runAsync();
}

/** The id `by` places on in an order, within its ends; the first where there was none. */
export function along(order, id, by) {
  if (id === null) return order[0];
  return order[Math.max(0, Math.min(order.length - 1, order.indexOf(id) + by))];
}
