import { useEffect, useRef, useState } from "../ui.js";
import { jobPath } from "./api.js";

const WINDOW = 30_000;

/** Changes each time a twentieth of the job's chunks is done: when its results are worth asking for again. */
export function freshness({ chunks }) {
  const all = Object.values(chunks).reduce((sum, each) => sum + each, 0);
  return all === 0 ? 0 : Math.ceil((20 * chunks.done) / all);
}

/**
 * Follow a job by server-sent events: `{snapshot, rate}`, pairs a second over the last half minute.
 *
 * The browser connects again by itself; `onEnd` is called when the job has ended.
 */
export function useFollowed(id, when, onEnd) {
  const [snapshot, setSnapshot] = useState(null);
  const [rate, setRate] = useState(null);
  const end = useRef(onEnd);
  end.current = onEnd;

  useEffect(() => {
    setSnapshot(null);
    setRate(null);
    if (!when) return undefined;
    let source = null;
    let retry = null;
    const seen = [];

    // A browser has few connections to a server: a page that nobody sees holds none.
    function tune() {
      source?.close();
      source = null;
      seen.length = 0;
      if (document.visibilityState === "visible") source = listen();
    }

    function listen() {
      const stream = new EventSource(jobPath(id, "events"));
      stream.addEventListener("job", hear);
      stream.addEventListener("end", () => {
        stream.close();
        end.current?.();
      });
      stream.addEventListener("error", () => {
        // Closed permanently (an error response): fetch the job again, and follow it if it still runs.
        if (stream.readyState === EventSource.CLOSED) retry ??= setTimeout(() => end.current?.(), 3000);
      });
      return stream;
    }

    function hear(event) {
      const next = JSON.parse(event.data);
      const now = performance.now();
      const reached = next.pairs.done + next.pairs.failed + next.pairs.skipped;
      // The next round has begun.
      if (seen.length > 0 && reached < seen[seen.length - 1][1]) seen.length = 0;
      seen.push([now, reached]);
      while (seen.length > 2 && seen[0][0] < now - WINDOW) seen.shift();
      const [first, last] = [seen[0], seen[seen.length - 1]];
      const passed = (last[0] - first[0]) / 1000;
      setRate(passed > 1 ? (last[1] - first[1]) / passed : null);
      setSnapshot(next);
    }

    tune();
    document.addEventListener("visibilitychange", tune);
    return () => {
      clearTimeout(retry);
      document.removeEventListener("visibilitychange", tune);
      source?.close();
    };
  }, [id, when]);

  return { snapshot, rate };
}
