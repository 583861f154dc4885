import { bytes } from "../core/format.js";
import { EDGE_METHODS, NODE_METHODS } from "../core/sites.js";

/** What the form begins with: the command line's defaults. */
export const DEFAULTS = {
  model: "",
  sites: ["z", "mlp_out"],
  methods: ["atp"],
  metric: "logit_diff",
  direction: "denoise",
  positions: "sum",
  exact: "5",
  detail: "pairs",
  name: "",
  seed: "0",
  dtype: "auto",
  source: "pair",
  steps: "5",
  priority: "0",
  limit: "",
  prependBos: "",
};

/** A model at a revision, as one choice. */
export function modelKey({ model, revision }) {
  return JSON.stringify([model, revision]);
}

/** The spec as the API takes it. */
export function specOf(values) {
  const [model, revision] = JSON.parse(values.model);
  const spec = {
    model,
    sites: values.sites,
    method: values.methods.join(","),
    metric: values.metric,
    direction: values.direction,
    positions: values.positions,
    exact: Number((Number(values.exact) / 100).toPrecision(12)),
    detail: values.detail,
    seed: Number(values.seed),
    dtype: values.dtype,
  };
  if (revision) spec.revision = revision;
  if (values.name.trim()) spec.name = values.name.trim();
  if (values.source !== "pair") spec.source = values.source;
  if (values.steps !== DEFAULTS.steps) spec.steps = Number(values.steps);
  if (values.priority !== DEFAULTS.priority) spec.priority = Number(values.priority);
  if (values.limit) spec.limit = Number(values.limit);
  if (values.prependBos) spec.prepend_bos = values.prependBos === "yes";
  return spec;
}

/** Why this cannot be sent, or null. */
export function faultOf(values, file, limits) {
  if (!file) return "no file";
  if (file.size === 0) return "The file is empty.";
  if (limits?.upload_bytes && file.size > limits.upload_bytes) {
    return `The file has ${bytes(file.size)}; this server takes up to ${bytes(limits.upload_bytes)}. The command line submits larger ones.`;
  }
  if (!values.model) return "This server has no model to submit to.";
  if (values.sites.length === 0) return "Choose at least one site.";
  if (values.methods.length === 0) return "Choose at least one method.";
  if (values.sites.includes("edge") && values.sites.length > 1) return "Edges are scored by methods of their own: a job has edges or other sites.";
  const right = values.sites.includes("edge") ? EDGE_METHODS : NODE_METHODS;
  const wrong = values.methods.filter((method) => !right.includes(method));
  if (wrong.length > 0) return `${wrong.join(", ")} does not score these sites: choose among ${right.join(", ")}.`;
  return null;
}
