import { keepValue, keptValue } from "./entries.js";
import { useState } from "../ui.js";

/** A state that is there again when the reader comes back to the view. */
export function useKeptState(name, initial) {
  const [value, setValue] = useState(() => keptValue(name) ?? initial);
  const set = (next) => {
    keepValue(name, next);
    setValue(next);
  };
  return [value, set];
}
