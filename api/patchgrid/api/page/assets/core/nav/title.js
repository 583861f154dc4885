import { useEffect } from "../ui.js";

/** What the tab and the history call the view. */
export function useTitle(...parts) {
  const text = [...parts.filter(Boolean), "patchgrid"].join(" · ");
  useEffect(() => {
    document.title = text;
  }, [text]);
}
