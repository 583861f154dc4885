import { html, useRef, useState } from "../core/ui.js";

const SHOWN = 2000;

/** A button that copies a text; `what` is what it is, for those who hear it, `words` what stands on the button. */
export function Copy({ text, what, words = "" }) {
  const [said, setSaid] = useState("");
  const timer = useRef(null);

  async function copy(event) {
    const button = event.currentTarget;
    const done = await copied(text);
    button.focus({ preventScroll: true });
    setSaid(done ? "Copied" : "Not copied: the browser did not allow it");
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setSaid(""), SHOWN);
  }

  return html`<span class="copy">
    <button type="button" class="quiet" aria-label=${`Copy ${what}`} title=${`Copy ${what}`} onClick=${copy}>
      <svg width="14" height="14" viewBox="0 0 14 14" aria-hidden="true"><path d="M4.5 4.5h8v8h-8z M9.5 4.5v-3h-8v8h3" /></svg>${words}
    </button>
    <span role="status">${said}</span>
  </span>`;
}

/** A command to be typed elsewhere. */
export function Command({ text }) {
  return html`<span class="command"><code>${text}</code><${Copy} text=${text} what="this command" /></span>`;
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Not allowed, or no secure connection, where there is no clipboard: the old way needs neither.
    return copiedByHand(text);
  }
}

function copiedByHand(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hidden";
  area.setAttribute("aria-hidden", "true");
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
