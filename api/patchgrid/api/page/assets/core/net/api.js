import { away } from "./connection.js";
import { Store } from "../store.js";

/** Raised by one when the server says that it does not know us (any more). */
export const strangers = new Store(0);

/** An unexpected response, in words. */
export class Problem extends Error {
  constructor(status, body = {}) {
    super(words(body.detail) || body.title || `The server answered ${status}`);
    this.name = "Problem";
    this.status = status;
    this.title = body.title ?? "";
    this.errors = Array.isArray(body.errors) ? body.errors : [];
  }

  /** Whether it is temporary: the server, its database or the network is unavailable. */
  get passing() {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

function words(detail) {
  return typeof detail === "string" ? detail : detail ? JSON.stringify(detail) : "";
}

/** The address of an API path; parameters that are null, undefined or "" are omitted. */
export function address(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.append(name, value);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

export function jobPath(job, ...rest) {
  return ["v1/jobs", encodeURIComponent(job), ...rest.map(encodeURIComponent)].join("/");
}

/** What an HTTP error says, whether or not it speaks problem+json. */
export function problemOf(status, text, path = "") {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = { detail: text.trim().slice(0, 400) };
  }
  const problem = new Problem(status, body && typeof body === "object" ? body : {});
  if (problem.passing) away(problem.message);
  // A wrong token at sign-in is no news about who we are.
  if (status === 401 && path !== "session") strangers.set(strangers.get() + 1);
  return problem;
}

const TRIES = 3;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Ask the API; gives JSON, or null for an empty answer. Asked too often, it waits as it is told. Throws `Problem`. */
export async function ask(path, options = {}) {
  for (let left = TRIES; ; left -= 1) {
    const answer = await send(path, options);
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    if (answer.status !== 429 || left === 0) throw problemOf(answer.status, await answer.text(), path);
    await pause(1000 * Math.min(10, Number(answer.headers.get("Retry-After")) || 1));
  }
}

async function send(path, { params, method = "GET", json, signal }) {
  try {
    return await fetch(address(path, params), {
      method,
      signal,
      headers: json === undefined ? {} : { "Content-Type": "application/json" },
      body: json === undefined ? undefined : JSON.stringify(json),
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const problem = new Problem(0, { detail: "The server is unavailable." });
    away(problem.message);
    throw problem;
  }
}

/** All rows of a list, page by page, up to `most`; `more` tells whether there are more. */
export async function askAll(path, { params, most = 5000, size = 5000, signal } = {}) {
  const items = [];
  let cursor = null;
  do {
    const limit = Math.min(size, most - items.length);
    const page = await ask(path, { params: { ...params, limit, cursor }, signal });
    items.push(...page.items);
    cursor = page.next;
  } while (cursor && items.length < most);
  return { items, more: Boolean(cursor) };
}
