import { html, useEffect, useRef } from "../../core/ui.js";

/** Ask before something that cannot be taken back. */
export function Confirm({ title, children, yes, onYes, onNo }) {
  const box = useRef(null);
  useEffect(() => box.current.showModal(), []);
  return html`<dialog ref=${box} aria-labelledby="confirm-title" onClose=${onNo}>
    <h2 id="confirm-title">${title}</h2>
    ${children}
    <p class="actions">
      <button type="button" class="danger" onClick=${onYes}>${yes}</button>
      <button type="button" onClick=${() => box.current.close()}>Back</button>
    </p>
  </dialog>`;
}
