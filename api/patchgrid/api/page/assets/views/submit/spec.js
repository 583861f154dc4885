import { bytes, count } from "../../core/text/format.js";
import { applies, named } from "./settings.js";

/** The metric that is chosen for one of another name. */
export const OTHER = "other";

/** What the form begins with: the API's defaults, by its names. */
export function initialValues(settings) {
  const values = Object.fromEntries(settings.map((each) => [each.name, each.initial]));
  delete values.revision; // a model is chosen with its revision
  return { ...values, model: "", sites: ["z", "mlp_out"], method: [values.method], other_metric: "" };
}

/** A model at a revision, as one choice. */
export function modelKey({ model, revision }) {
  return JSON.stringify([model, revision]);
}

/** The spec as the API takes it; what is at its default or does not apply is left to the server. */
export function specOf(values, settings) {
  const [model, revision] = JSON.parse(values.model);
  const spec = { model, sites: values.sites, method: values.method.join(",") };
  if (revision) spec.revision = revision;
  spec.metric = values.metric === OTHER ? values.other_metric.trim() : values.metric;
  if (values.exact !== "") spec.exact = Number((Number(values.exact) / 100).toPrecision(12));
  for (const setting of settings) {
    const value = setting.kind === "text" ? values[setting.name]?.trim?.() : values[setting.name];
    if (setting.name === "exact" || setting.name in spec || value === undefined || value === setting.initial || !applies(setting, values)) continue;
    spec[setting.name] = sent(setting, value);
  }
  return spec;
}

function sent({ kind, choices }, value) {
  if (kind === "number") return Number(value);
  return kind === "choice" && choices.some(([name]) => name === "") ? value === "yes" : value;
}

/** Why this cannot be sent, or null. */
export function faultOf(values, settings, file, limits) {
  if (!file) return "no file";
  if (file.size === 0) return "The file is empty.";
  if (limits?.upload_bytes && file.size > limits.upload_bytes) {
    return `The file has ${bytes(file.size)}; the limit is ${bytes(limits.upload_bytes)}. Submit larger files on the command line.`;
  }
  if (!values.model) return "This server has no models.";
  if (values.sites.length === 0) return "Choose at least one site.";
  if (values.method.length === 0) return "Choose at least one method.";
  if (values.sites.includes("edge") && values.sites.length > 1) return "Edges are scored by methods of their own: a job has edges or other sites.";
  const right = methodsFor(values, settings);
  const wrong = values.method.filter((method) => !right.includes(method));
  if (wrong.length > 0) return `${wrong.join(", ")} does not score these sites; available: ${right.join(", ")}.`;
  return null;
}

/** The methods that score the sites chosen. */
export function methodsFor(values, settings) {
  const { choices, edgeMethods } = named(settings, "method");
  const ofEdges = values.sites.includes("edge");
  return choices.map(([name]) => name).filter((name) => edgeMethods.includes(name) === ofEdges);
}

/** What is wrong with single fields before anything is sent: words by name. */
export function faultsOf(values, settings) {
  const faults = {};
  for (const setting of settings.filter((each) => each.kind === "number" && applies(each, values))) {
    const { name, optional, whole } = setting;
    const scale = name === "exact" ? 100 : 1;
    const [least, most, value] = [scale * setting.least, scale * setting.most, Number(values[name])];
    const right = values[name] === "" ? optional : (!whole || Number.isInteger(value)) && value >= least && value <= most;
    if (!right) faults[name] = `must be a ${whole ? "whole " : ""}number from ${count(least)} to ${count(most)}`;
  }
  if (values.metric === OTHER && !values.other_metric.trim()) faults.other_metric = "enter the metric's name";
  return faults;
}
