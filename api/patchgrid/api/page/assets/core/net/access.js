import { ask, strangers } from "./api.js";
import { useAnswer } from "./data.js";
import { useStore } from "../store.js";
import { createContext, useContext } from "../ui.js";

/** Who we are to the server: `{open, token, scopes, version, limits}`. */
export const Access = createContext({ open: false, token: null, scopes: [] });

export function useAccess() {
  const access = useContext(Access);
  return { ...access, may: (scope) => access.scopes.includes(scope) };
}

/** Whether a job is ours to change: as one of its owners, as an admin, or as anybody where the server is open. */
export function ownsJob({ open, may, token }, job) {
  return open || may("admin") || job.owners.includes(token);
}

/** Fetch our access; again after each response that says we are not signed in. */
export function useAskedAccess() {
  return useAnswer((signal) => ask("v1/access", { signal }), ["access", useStore(strangers)], {});
}

export async function signIn(token) {
  await ask("session", { method: "POST", json: { token } });
}

export async function signOut() {
  await ask("session", { method: "DELETE" });
}
