// What is kept of each entry of the browser's history, so that Back gives the reader's place and focus again.

const KEY = "patchgrid-entries";
const MOST = 50;
/** Milliseconds that a view has to grow as long as it was. */
const PATIENCE = 5000;
const ACTS = ["wheel", "touchstart", "pointerdown", "keydown"];

const entries = load();
let current = known() ? history.state.entry : begin();

history.scrollRestoration = "manual";
addEventListener("pagehide", () => {
  remember();
  save();
});

function load() {
  try {
    return new Map(JSON.parse(sessionStorage.getItem(KEY)) ?? []);
  } catch {
    return new Map();
  }
}

function save() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify([...entries].slice(-MOST)));
  } catch {
    // Storage is switched off: a reload begins at the top.
  }
}

function known() {
  return entries.has(history.state?.entry);
}

function begin() {
  const entry = Math.random().toString(36).slice(2);
  history.replaceState({ entry }, "");
  entries.set(entry, { y: 0, focus: null, values: {} });
  return entry;
}

function remember() {
  Object.assign(entries.get(current), { y: scrollY, focus: focused() });
}

/** Leave the entry that was shown for the one that the address now has; gives it, and whether it was there before. */
export function turn() {
  remember();
  const back = known();
  current = back ? history.state.entry : begin();
  return { entry: current, back };
}

/** The entry that the page was opened with. */
export function opened() {
  return { entry: current, back: entries.get(current).y > 0 || entries.get(current).focus !== null };
}

/** A value kept with the current entry under a name, or undefined. */
export function keptValue(name) {
  return entries.get(current).values[name];
}

export function keepValue(name, value) {
  entries.get(current).values[name] = value;
}

function focused() {
  const element = document.activeElement;
  if (!element || element === document.body || element.id === "main") return null;
  const told = wordsOf(element);
  return { tag: element.tagName, told, index: alike(element.tagName, told).indexOf(element) };
}

function wordsOf(element) {
  const words = element.getAttribute("aria-label") ?? element.textContent.trim().slice(0, 80);
  return [element.id, element.getAttribute("href"), element.getAttribute("name"), words].join("|");
}

function alike(tag, told) {
  return [...document.getElementsByTagName(tag)].filter((each) => wordsOf(each) === told);
}

/** Give the reader the place and the focus that the entry was left with, as soon as they are there; gives what ends it. */
export function restore(main) {
  const { y, focus } = entries.get(current);
  let wanted = focus;
  const observer = new MutationObserver(attempt);
  const sizes = new ResizeObserver(attempt);
  const timer = setTimeout(end, PATIENCE);

  function attempt() {
    const element = wanted && alike(wanted.tag, wanted.told)[wanted.index];
    if (element) {
      wanted = null;
      element.focus({ preventScroll: true });
    }
    scrollTo(0, y);
    if (!wanted && Math.abs(scrollY - y) < 2 && !main.querySelector("[aria-busy='true']")) end();
  }

  function end() {
    clearTimeout(timer);
    observer.disconnect();
    sizes.disconnect();
    for (const act of ACTS) removeEventListener(act, end, true);
  }

  main.focus({ preventScroll: true });
  observer.observe(main, { childList: true, subtree: true });
  sizes.observe(main);
  // A user action ends the restoring of the position.
  for (const act of ACTS) addEventListener(act, end, true);
  attempt();
  return end;
}
