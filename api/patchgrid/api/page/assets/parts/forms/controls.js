import { html, useEffect, useRef, useState } from "../../core/ui.js";

const PATIENCE = 250;

/** A labelled choice; options are texts or `[value, words]`. */
export function Choice({ label, value, options, onChange, hint }) {
  return html`<label class="field" title=${hint}>
    <span>${label}</span>
    <select value=${value} onChange=${(event) => onChange(event.target.value)}>
      ${options.map((option) => {
        const [name, words] = Array.isArray(option) ? option : [option, option];
        return html`<option key=${name} value=${name} selected=${name === value}>${words}</option>`;
      })}
    </select>
  </label>`;
}

/** A search box that waits until the typing stops. */
export function Search({ label, value = "", onChange, placeholder }) {
  const [text, setText] = useState(value);
  const timer = useRef(null);
  useEffect(() => setText(value), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  function typed(event) {
    const next = event.target.value;
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onChange(next), PATIENCE);
  }
  return html`<label class="field">
    <span>${label}</span>
    <input type="search" value=${text} placeholder=${placeholder} onInput=${typed} />
  </label>`;
}

export function Check({ label, checked, onChange, hint, disabled = false }) {
  return html`<label class="check" title=${hint}>
    <input type="checkbox" checked=${checked} disabled=${disabled} onChange=${(event) => onChange(event.target.checked)} />
    <span>${label}</span>
  </label>`;
}

/** Links to the next page of a list and back to its beginning; steps back are the browser's. */
export function Pager({ next, cursor, onCursor, words = "Next page" }) {
  if (!next && !cursor) return null;
  return html`<nav class="pager" aria-label="Pages">
    ${cursor && html`<button type="button" onClick=${() => onCursor(null)}>First page</button>`}
    ${cursor && html`<button type="button" onClick=${() => history.back()}>Back</button>`}
    ${next && html`<button type="button" onClick=${() => onCursor(next)}>${words}</button>`}
  </nav>`;
}
