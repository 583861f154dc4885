import { useStore } from "../core/store.js";
import { repaint } from "../core/nav/theme.js";
import { html, useEffect, useRef, useState } from "../core/ui.js";
import { library } from "./library.js";
import { config, palette } from "./palette.js";

/**
 * A Vega-Lite chart as wide as there is room; one that must be wider scrolls in its own box, which has the attributes `box`.
 *
 * `spec(width, colours)` is redrawn when `keys`, the width or the colours change; `onView(view)` may listen to it,
 * and hears null when it is gone; `atEnd` scrolls to its right end.
 */
export function Chart({ spec, keys, atEnd = false, description, onView, box = {} }) {
  const room = useRef(null);
  const inner = useRef(null);
  const [width, setWidth] = useState(0);
  const [fault, setFault] = useState(null);
  const painted = useStore(repaint);

  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(room.current);
    return () => observer.disconnect();
  }, []);

  useEffect(() => {
    if (!width) return undefined;
    let view = null;
    let gone = false;
    draw().catch((error) => !gone && setFault(error));

    async function draw() {
      const { vega, vegaLite, expressionInterpreter } = await library();
      if (gone) return;
      const colours = palette();
      const { spec: compiled } = vegaLite.compile({ ...spec(width, colours), description }, { config: config(colours) });
      const parsed = vega.parse(compiled, null, { ast: true });
      view = new vega.View(parsed, { expr: expressionInterpreter, renderer: "canvas", hover: false, logLevel: vega.Error });
      // Hints are ours: Vega's own would put styles into the page.
      view.tooltip(() => {});
      view.initialize(inner.current);
      await view.runAsync();
      if (gone) return;
      setFault(null);
      inner.current.dataset.drawn = "true";
      if (atEnd) room.current.scrollLeft = room.current.scrollWidth;
      onView?.(view);
    }

    return () => {
      gone = true;
      if (view) onView?.(null);
      view?.finalize();
      inner.current?.replaceChildren();
    };
  }, [width, painted, JSON.stringify(keys)]);

  return html`<div class="chart">
    <div class="canvas" ref=${room} ...${box}><div ref=${inner}></div></div>
    ${fault && html`<p class="problem" role="alert">The chart could not be drawn: ${fault.message}</p>`}
  </div>`;
}
