import { count, number, percent } from "./format.js";

/** The states of a certificate's components, in the order in which they are listed. */
export const STATES = ["in", "tied", "undecided", "out"];

/** What a refinement asks for, in words. */
export function requestWords({ exact, top, components, certify, ranking }) {
  if (certify) return `certificate of the top ${count(certify)} by ${ranking === "signed" ? "mean effect" : "|mean effect|"}`;
  if (top) return `every pair of the ${count(top)} components of largest |estimate|`;
  if (components) return `every pair of ${components.join(", ")}`;
  return `${Number((100 * exact).toPrecision(3))} % of all cells`;
}

/** How far a certificate is: `8 in, 317 out, 5 undecided, 3.1 % of cells`. */
export function boundaryWords({ counts, cells, cells_in_all: all }) {
  const shown = ["in", "out", "tied", "undecided"].filter((state) => counts[state] || state === "in" || state === "out");
  return `${shown.map((state) => `${count(counts[state])} ${state}`).join(", ")}, ${Number(((100 * cells) / all).toPrecision(2))} % of cells`;
}

/** What came of a refinement so far. */
export function outcomeWords({ kind, state, result }) {
  if (result?.error) return `failed: ${result.error}`;
  const told = state === "done" ? "" : `${state}: `;
  if (result?.counts) return `${told}${state === "done" && !result.holds ? "not decided: " : ""}${boundaryWords(result)}`;
  if (result?.cells !== undefined && result?.cells !== null) return `${told}${count(result.cells)} cells patched in round ${result.round}`;
  return kind === "certify" || !result ? state : `${told}round ${result.round}`;
}

/** What a certificate says of all components that are not in, and what it cost. */
export function boundWords({ above, confidence, cells, cells_in_all: all, uniform_cells: uniform }) {
  const sure = `${Number((100 * confidence).toPrecision(4))} %`;
  return `No other component is above ${number(above)} (${sure}). Patched ${count(cells)} of ${count(all)} cells; uniform sampling would have taken about ${count(uniform)} (${percent(uniform, all)}).`;
}
