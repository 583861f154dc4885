import { Store } from "../store.js";

const KEY = "patchgrid-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

/** `auto`, `light` or `dark`. */
export const theme = new Store(document.documentElement.dataset.theme ?? "auto");
/** Raised by one when colours change: charts are redrawn. */
export const repaint = new Store(0);

export function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try {
    if (name === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, name);
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
  theme.set(name);
  repaint.set(repaint.get() + 1);
}

system.addEventListener("change", () => repaint.set(repaint.get() + 1));
