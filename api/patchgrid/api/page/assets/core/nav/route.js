// All that the reader has chosen stands in the address: `#/jobs/7/heads?site=z&method=relp`.
import { opened, turn } from "./entries.js";
import { Store } from "../store.js";

function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return {
    parts: path.split("/").filter(Boolean).map(decode),
    params: Object.fromEntries(new URLSearchParams(query)),
  };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** `{parts, params, entry, back}`: the entry of the browser's history, and whether the reader came back to it. */
export const route = new Store({ ...read(), ...opened() });

addEventListener("hashchange", () => route.set({ ...read(), ...turn() }));

/** The address of a view. */
export function href(parts, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.append(name, value);
  }
  const text = query.toString();
  return `#/${parts.map((part) => encodeURIComponent(part)).join("/")}${text ? `?${text}` : ""}`;
}

export function go(parts, params = {}) {
  location.hash = href(parts, params);
}

/** Change some of the choices; null takes one away. A step of paging can be gone back, a keystroke not. */
export function choose(changes, { step = false } = {}) {
  const { parts, params } = route.get();
  const next = href(parts, { ...params, ...changes });
  if (next === location.hash) return;
  if (step) location.hash = next;
  else {
    history.replaceState(history.state, "", next);
    route.set({ ...route.get(), ...read() });
  }
}
