import { bytes, count } from "../../core/text/format.js";
import { EDGE_METHODS, NODE_METHODS } from "../../core/text/sites.js";

/** What the form begins with: the API's defaults, by its names; `exact` in per cent. */
export const DEFAULTS = {
  model: "",
  sites: ["z", "mlp_out"],
  method: ["atp"],
  metric: "logit_diff",
  other_metric: "",
  direction: "denoise",
  exact: "5",
  name: "",
  positions: "sum",
  source: "pair",
  prepend_bos: "",
  limit: "",
  columns: "",
  steps: "5",
  path: "embedding",
  grad_drop: false,
  only_correct: false,
  detail: "pairs",
  dtype: "auto",
  seed: "0",
  chunk_size: "",
  priority: "0",
  key: "",
};
/** The metric that is chosen for one of another name. */
export const OTHER = "other";
/** Least and largest of each number. */
export const RANGES = {
  exact: [0, 100],
  limit: [1, 2 ** 31 - 1],
  steps: [1, 4096],
  seed: [0, Number.MAX_SAFE_INTEGER],
  chunk_size: [1, 4096],
  priority: [-1000, 1000],
};

/** Optional numbers. */
const OPTIONAL = new Set(["limit", "chunk_size"]);

/** Which of the methods' options those chosen have. */
export function optionsOf({ method }) {
  return { steps: method.includes("ig") || method.includes("eap-ig"), path: method.includes("ig"), grad_drop: method.includes("atp*") };
}

/** A model at a revision, as one choice. */
export function modelKey({ model, revision }) {
  return JSON.stringify([model, revision]);
}

/** The spec as the API takes it; what is at its default or does not apply is left to the server. */
export function specOf(values) {
  const [model, revision] = JSON.parse(values.model);
  const options = optionsOf(values);
  const { sites, direction, positions, detail, dtype } = values;
  const spec = { model, sites, direction, positions, detail, dtype };
  spec.method = values.method.join(",");
  spec.metric = values.metric === OTHER ? values.other_metric.trim() : values.metric;
  spec.exact = Number((Number(values.exact) / 100).toPrecision(12));
  spec.seed = Number(values.seed);
  if (revision) spec.revision = revision;
  for (const name of ["name", "key", "columns"]) if (values[name].trim()) spec[name] = values[name].trim();
  if (values.priority !== DEFAULTS.priority) spec.priority = Number(values.priority);
  if (values.chunk_size) spec.chunk_size = Number(values.chunk_size);
  if (options.steps && values.steps !== DEFAULTS.steps) spec.steps = Number(values.steps);
  if (options.path && values.path !== DEFAULTS.path) spec.path = values.path;
  if (options.grad_drop && values.grad_drop) spec.grad_drop = true;
  if (values.only_correct) spec.only_correct = true;
  if (values.source !== DEFAULTS.source) spec.source = values.source;
  if (values.limit) spec.limit = Number(values.limit);
  if (values.prepend_bos) spec.prepend_bos = values.prepend_bos === "yes";
  return spec;
}

/** Why this cannot be sent, or null. */
export function faultOf(values, file, limits) {
  if (!file) return "no file";
  if (file.size === 0) return "The file is empty.";
  if (limits?.upload_bytes && file.size > limits.upload_bytes) {
    return `The file has ${bytes(file.size)}; the limit is ${bytes(limits.upload_bytes)}. Submit larger files on the command line.`;
  }
  if (!values.model) return "This server has no models.";
  if (values.sites.length === 0) return "Choose at least one site.";
  if (values.method.length === 0) return "Choose at least one method.";
  if (values.sites.includes("edge") && values.sites.length > 1) return "Edges cannot be combined with other sites in one job.";
  const right = values.sites.includes("edge") ? EDGE_METHODS : NODE_METHODS;
  const wrong = values.method.filter((method) => !right.includes(method));
  if (wrong.length > 0) return `${wrong.join(", ")} does not score these sites; available: ${right.join(", ")}.`;
  return null;
}

/** What is wrong with single fields before anything is sent: words by name. */
export function faultsOf(values) {
  const options = optionsOf(values);
  const faults = {};
  for (const [name, [least, most]] of Object.entries(RANGES)) {
    const asked = options[name] ?? (!OPTIONAL.has(name) || values[name] !== "");
    const value = Number(values[name]);
    const whole = name === "exact" || Number.isInteger(value);
    if (asked && (values[name] === "" || !whole || !(value >= least && value <= most))) {
      faults[name] = `must be a ${name === "exact" ? "" : "whole "}number from ${count(least)} to ${count(most)}`;
    }
  }
  if (values.metric === OTHER && !values.other_metric.trim()) faults.other_metric = "enter the metric's name";
  return faults;
}
