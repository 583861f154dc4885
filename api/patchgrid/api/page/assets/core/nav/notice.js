import { Store } from "../store.js";

/** What to say of a job that was just submitted: `{job, words}`, or null. */
export const notice = new Store(null);
