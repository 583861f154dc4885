// Whether the server and its database are available. Requests that failed during an outage are repeated after it.
import { Store } from "../store.js";

const LOOK_AGAIN = 3000;

/** null, or why nothing can be had at present. */
export const trouble = new Store(null);
/** Incremented each time the server is back: the shown data is then fetched again. */
export const returns = new Store(0);

let timer = null;

export function away(reason) {
  trouble.set(reason);
  timer ??= setTimeout(look, LOOK_AGAIN);
}

async function look() {
  timer = null;
  try {
    const answer = await fetch("healthz", { cache: "no-store" });
    if (answer.ok) {
      trouble.set(null);
      returns.set(returns.get() + 1);
      return;
    }
  } catch {
    // Still away.
  }
  timer = setTimeout(look, LOOK_AGAIN);
}

/** Look at once, as the reader asked. */
export function lookNow() {
  clearTimeout(timer);
  look();
}
