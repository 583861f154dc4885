import { count } from "./format.js";

/** Whether a job has exact effects, as soon as it has results. */
export function isPatched({ spec, rounds }) {
  return spec.exact > 0 || spec.exact_per_component > 0 || rounds > 0;
}

/** How much of a job is patched exactly with its scores, in words. */
export function budgetWords({ exact, exact_per_component: draws }) {
  const words = [exact > 0 && `${Number((100 * exact).toPrecision(3))} % of cells`, draws > 0 && `${count(draws)} cells per component`];
  return words.filter(Boolean).join(", at least ") || "nothing";
}
