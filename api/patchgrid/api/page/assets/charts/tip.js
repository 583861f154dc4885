import { html } from "../core/ui.js";

/** What is under the pointer or the keyboard's mark, beside it. */
export function Tip({ at, children }) {
  if (!at) return null;
  const style = at.flip ? { right: `${at.width - at.x + 14}px`, top: `${at.y}px` } : { left: `${at.x + 14}px`, top: `${at.y}px` };
  return html`<div class="tip" style=${style}>${children}</div>`;
}

/** Where a point of a chart is in the box that the chart may be scrolled in; the box is scrolled to show it. */
export function place(view, x, y) {
  const box = view.container().parentElement;
  const width = box.clientWidth;
  if (x - box.scrollLeft > width - 30) box.scrollLeft = x - width + 60;
  else if (x - box.scrollLeft < 30) box.scrollLeft = x - 60;
  return beside(x - box.scrollLeft, y, width);
}

/** Where a view's own coordinates begin on its canvas. */
export function originOf(view) {
  const [left, top] = view.origin();
  const padding = view.padding();
  return [left + (padding.left ?? padding), top + (padding.top ?? padding)];
}

/** Where the pointer is in that box. */
export function pointed(view, event) {
  const box = view.container().parentElement;
  const { left, top } = box.getBoundingClientRect();
  return beside(event.clientX - left, event.clientY - top, box.clientWidth);
}

function beside(x, y, width) {
  return { x, y: y + 10, width, flip: x > width / 2 };
}
