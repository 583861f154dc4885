import { askAll } from "../core/api.js";
import { useAnswer } from "../core/data.js";
import { freshness } from "../core/follow.js";

/** Components fetched at first; all, where there are no more. */
export const MOST = 5000;
/** Fetched where a search, or an order that the server does not know, must look at more of them. */
const DEEP = 50_000;
const SIZE = 10_000;
/** What the server orders by, the largest first. */
const ORDERS = ["estimate", "mean", "mean_abs"];

/**
 * A job's components, `{items, more, by}`: all, or the largest by what they are sorted by.
 *
 * Where they are more than `MOST`, the rest must not be passed over in silence: another order of the server's is asked
 * for anew, and what is searched or sorted here is looked for among `DEEP`.
 */
export function useRanked(job, path, asked, { search, sort = "estimate", order = "down" }) {
  const down = order !== "up";
  const first = useRows(job, path, { ...asked, by: "estimate" }, MOST, true);
  const others = Boolean(first.data?.more) && (Boolean(search) || sort !== "estimate" || !down);
  const known = !search && down && ORDERS.includes(sort);
  const second = useRows(job, path, { ...asked, by: known ? sort : "estimate" }, known ? MOST : DEEP, others);
  return others ? second : first;
}

function useRows(job, path, params, most, when) {
  const look = async (signal) => ({ ...(await askAll(path, { params, most, size: SIZE, signal })), by: params.by });
  return useAnswer(look, [path, params, most], { when, fresh: freshness(job) });
}
