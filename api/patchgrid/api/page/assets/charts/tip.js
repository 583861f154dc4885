import { html } from "../core/ui.js";

/** What is under the pointer or the keyboard's mark, beside it. */
export function Tip({ at, children }) {
  if (!at) return null;
  const style = at.flip ? { right: `${at.width - at.x + 14}px`, top: `${at.y}px` } : { left: `${at.x + 14}px`, top: `${at.y}px` };
  return html`<div class="tip" style=${style}>${children}</div>`;
}

/** Where in its box an event or a mark is. */
export function place(view, x, y) {
  const width = view.container().clientWidth;
  return { x, y: y + 10, width, flip: x > width / 2 };
}
