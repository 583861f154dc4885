// Vega and Vega-Lite are large: they are loaded when the first chart is drawn.

function script(name) {
  return new Promise((done, failed) => {
    const element = document.createElement("script");
    element.src = new URL(`../vendor/${name}`, import.meta.url).href;
    element.onload = done;
    element.onerror = () => failed(new Error(`${name} could not be loaded`));
    document.head.append(element);
  });
}

async function load() {
  await script("vega.min.js");
  await script("vega-lite.min.js");
  // Its expressions are interpreted, not compiled: the page's policy allows no code made at run time.
  const { expressionInterpreter } = await import("../vendor/vega-interpreter.js");
  return { vega: globalThis.vega, vegaLite: globalThis.vegaLite, expressionInterpreter };
}

let loading = null;

export function library() {
  loading ??= load().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}
