import { labelled } from "../../charts/gridspec.js";
import { count, number } from "../../core/text/format.js";
import { html, useEffect, useRef } from "../../core/ui.js";

/** A token as it reads, its spaces and line ends made visible. */
export function visible(token) {
  return String(token).replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/ /g, "·") || "∅";
}

/** The colour of a score: more of it the larger it is, little enough that the text stays readable. */
function shade(value, limit) {
  if (!limit || !value) return {};
  const share = Math.round(55 * Math.min(1, Math.abs(value) / limit));
  return { backgroundColor: `color-mix(in srgb, var(${value < 0 ? "--negative" : "--positive"}) ${share}%, var(--surface))` };
}

/**
 * A prompt, token by token, coloured by score; tokens that differ from the other prompt's are marked.
 *
 * The first `folded` are hidden until `onUnfold`. A long prompt scrolls in its own box, initially at its end.
 */
export function Tokens({ label, tokens, others, scores, limit, spans = {}, folded = 0, onUnfold }) {
  const list = useRef(null);
  useEffect(() => {
    list.current.scrollTop = list.current.scrollHeight;
  }, [tokens, folded]);
  return html`<ol class="tokens" aria-label=${label} tabindex="0" ref=${list}>
    ${folded > 0 && html`<li class="fold"><button type="button" class="link" onClick=${onUnfold}>${count(folded)} shared tokens</button></li>`}
    ${tokens.map((token, place) => {
      if (place < folded) return null;
      const differs = others[place] !== token;
      const inside = Object.entries(spans)
        .filter(([, [first, last]]) => first <= place && place < last)
        .map(([name]) => name);
      const score = scores?.[place];
      const title = [
        `position ${place - tokens.length}, index ${place}`,
        ...inside.map((name) => `span ${name}`),
        score === undefined ? "" : `score ${number(score)}`,
        differs ? `other prompt: ${JSON.stringify(others[place] ?? "")}` : "",
      ];
      return html`<li key=${place} class=${differs ? "differs" : ""} style=${shade(score, limit)} title=${title.filter(Boolean).join("\n")}>
        <span class="token">${visible(token)}</span>
        <span class="under">${labelled(place - tokens.length)}${inside.length > 0 ? ` ${inside.join(",")}` : ""}</span>
        ${differs && html`<span class="hidden">(differs)</span>`}
      </li>`;
    })}
  </ol>`;
}
