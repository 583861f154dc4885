// Intervals of estimates as people read them: few cells of uneven weights may give one of 1e13 metric units.
import { count, number, withInterval } from "./format.js";

/** Times a component's own size that half an interval may be and still say something of it. */
const MOST = 1000;
/** The least size that counts, in metric units: about 0, an interval is useful however wide it is beside it. */
const LEAST = 0.001;
/** Times the largest bar or dot that intervals are drawn to. */
const DRAWN = 1.5;

/** Whether a component has an interval. */
function hasInterval(row) {
  return row.ci_low !== null && row.ci_low !== undefined && row.ci_high !== null && row.ci_high !== undefined;
}

/** Whether it has one that says something: not one that is a thousand times as wide as the component is large. */
export function isBounded(row) {
  if (!hasInterval(row)) return false;
  const size = Math.max(LEAST, Math.abs(row.estimate ?? 0), row.mean_abs ?? 0, Math.abs(row.mean ?? 0));
  return (row.ci_high - row.ci_low) / 2 <= MOST * size;
}

/** Whether it has one that says nothing. */
export function isUnbounded(row) {
  return hasInterval(row) && !isBounded(row);
}

/** Whether it excludes 0. */
export function isClear(row) {
  return hasInterval(row) && row.ci_low * row.ci_high > 0;
}

/** The estimate, with the digits of its interval where that says something. */
export function estimateWords(row) {
  return isBounded(row) ? withInterval(row.estimate, row.ci_low, row.ci_high)[0] : number(row.estimate);
}

/** Half the interval, `± 0.0070`, or its ends; `no bound` where it says nothing. */
export function plusMinus(row) {
  if (row.shrunk) return "few cells";
  if (isUnbounded(row)) return "no bound";
  return withInterval(row.estimate, row.ci_low, row.ci_high)[1];
}

/** The interval in words: its text, or why there is no useful one. */
export function intervalWords(row) {
  if (hasInterval(row) && row.ci_low === row.ci_high && row.exact_n === row.n) return "± 0 for these pairs: all patched exactly";
  if (isBounded(row)) return plusMinus(row);
  const cells = row.exact_n === 1 ? "one exact cell" : `${count(row.exact_n)} exact cells`;
  if (row.shrunk) return `none from ${cells}: the estimate is shrunk toward the mean score`;
  if (isUnbounded(row)) return `no useful bound from ${cells}`;
  return row.exact_n === 0 ? "none: no exact cell" : `none from ${cells}`;
}

/** The scale that rows share, 0 within it: no interval is drawn further than the largest of them times `DRAWN`. */
export function domainOf(rows) {
  const middles = rows.map((row) => row.estimate ?? row.mean ?? 0);
  const most = DRAWN * Math.max(0, ...middles.map(Math.abs));
  const ends = rows.filter(hasInterval).flatMap((row) => [row.ci_low, row.ci_high]);
  const cut = ends.map((end) => Math.max(-most, Math.min(most, end)));
  return [Math.min(0, ...middles, ...cut), Math.max(0, ...middles, ...cut)];
}

/** An interval as it fits the scale: `{low, high, lowCut, highCut}`, or null. */
export function fitted(row, [low, high]) {
  if (!hasInterval(row)) return null;
  return {
    low: Math.max(low, row.ci_low),
    high: Math.min(high, row.ci_high),
    lowCut: row.ci_low < low,
    highCut: row.ci_high > high,
  };
}
