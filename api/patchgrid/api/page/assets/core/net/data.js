import { ask } from "./api.js";
import { returns } from "./connection.js";
import { useStore } from "../store.js";
import { useEffect, useMemo, useRef, useState } from "../ui.js";

const NOTHING = { data: null, problem: null, loading: true };

/**
 * What an asynchronous question answers: `{data, problem, loading, reload}`.
 *
 * Fetched when `keys` change; fetched again when `fresh` does, when the server is back, and every `every` ms while the
 * page is visible. While the same data are fetched again, the last answer stays.
 */
export function useAnswer(question, keys, { every = 0, when = true, fresh = null } = {}) {
  const [state, setState] = useState(NOTHING);
  const [turn, setTurn] = useState(0);
  const back = useStore(returns);
  const key = JSON.stringify(keys);
  const shown = useRef(key);

  useEffect(() => {
    if (!when) return undefined;
    const control = new AbortController();
    let timer = null;
    if (shown.current !== key) setState(NOTHING);
    shown.current = key;

    async function look() {
      try {
        const data = await question(control.signal);
        if (!control.signal.aborted) setState({ data, problem: null, loading: false });
      } catch (problem) {
        if (control.signal.aborted) return;
        // Keep the old data rather than show an empty page; the banner says that the server is unavailable.
        setState((last) => ({ data: problem.passing ? last.data : null, problem, loading: false }));
      }
      if (every && !control.signal.aborted) timer = setTimeout(again, every);
    }

    function again() {
      if (document.visibilityState === "visible") look();
      else document.addEventListener("visibilitychange", again, { once: true });
    }

    look();
    return () => {
      control.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", again);
    };
  }, [key, turn, back, every, when, fresh]);

  // A key that has just changed must not be shown with the last one's answer, not even for one drawing.
  const current = shown.current === key ? state : NOTHING;
  return useMemo(() => ({ ...current, reload: () => setTurn((last) => last + 1) }), [current]);
}

/** An answer that stays while another question is on its way: a table that is sorted keeps its place, and its focus. */
export function useKept(answer) {
  const last = useRef(null);
  if (answer.data) last.current = answer.data;
  const kept = answer.loading ? last.current : answer.data;
  return { ...answer, data: kept, kept: answer.loading && kept !== null };
}

/** The answer of one API path. */
export function useData(path, params = {}, options = {}) {
  return useAnswer((signal) => ask(path, { params, signal }), [path, params], options);
}
