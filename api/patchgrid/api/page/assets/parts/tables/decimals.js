import { html } from "../../core/ui.js";

const NUMBER = /^(?:± )?[+−]?[\d,]+(\.\d+)?(e[+−]?\d+)?$/;

/** The part of a number after its integer digits, `[point and digits, exponent]`; null: not a number. */
function fraction(text) {
  const found = typeof text === "string" && NUMBER.exec(text);
  return found ? [found[1] ?? "", found[2] ?? ""] : null;
}

function longest(texts) {
  return texts.reduce((most, each) => (each.length > most.length ? each : most), "");
}

/** A function that writes a column's texts so that their decimal points stand below each other. */
export function aligned(texts) {
  const fractions = texts.map(fraction).filter(Boolean);
  const widest = [0, 1].map((part) => longest(fractions.map((each) => each[part])));
  if (widest.join("") === "") return (text) => text;
  return (text) => {
    const own = fraction(text);
    // The characters that others have and this one lacks: unseen, as wide as they are, and no part of the text.
    const lacking = own && widest.map((all, part) => all.slice(own[part].length)).join("");
    return lacking ? html`${text}<span class="pad" data-pad=${lacking} />` : text;
  };
}
