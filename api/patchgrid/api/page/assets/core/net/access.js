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
