// The settings of a job, read from the API's own description: the form has no list of them.

/** Settings with a place of their own in the form; all others stand under "More settings". */
const PLACED = new Set(["model", "revision", "sites", "method", "metric", "direction", "exact", "exact_per_component", "name"]);

/**
 * Read the OpenAPI document: `[{name, kind, label, help, choices, open, initial, defaultWords, least, most, optional, methods, part}]`.
 *
 * `kind` is `flag`, `choice`, `number` or `text`; `initial` is what its field begins with.
 */
export function settingsOf(document) {
  // What follows the scores is asked for once the job is done.
  const { refinements, ...properties } = document.components.schemas.JobRequest.properties;
  return Object.entries(properties).map(([name, property]) => settingOf(name, property));
}

function settingOf(name, property) {
  const types = property.anyOf ?? [property];
  const optional = types.some((each) => each.type === "null");
  const type = types.find((each) => each.type !== "null");
  const setting = {
    name,
    optional,
    label: property.title,
    help: property["x-help"] ?? property.description,
    choices: property["x-choices"] ?? null,
    open: property["x-open"] ?? false,
    methods: property["x-methods"] ?? null,
    edgeMethods: property["x-edge-methods"] ?? null,
    part: property["x-part"] ?? "queue",
    least: type.minimum ?? null,
    most: type.maximum === undefined ? null : Math.min(type.maximum, Number.MAX_SAFE_INTEGER),
    longest: type.maxLength,
  };
  if (type.type === "boolean" && optional) return { ...setting, kind: "choice", choices: ANY, initial: "", defaultWords: property["x-default"] };
  if (type.type === "boolean") return { ...setting, kind: "flag", initial: false, defaultWords: "off" };
  const kind = setting.choices ? "choice" : ["integer", "number"].includes(type.type) ? "number" : "text";
  const initial = String(property.default ?? "");
  return { ...setting, kind, initial, whole: type.type === "integer", defaultWords: property["x-default"] ?? (initial || "empty") };
}

/** Yes, no, or neither. */
const ANY = [["", "default"], ["yes", ""], ["no", ""]];

/** What stands below a field. */
export function hintOf({ help, defaultWords, methods }) {
  return `${help}${methods ? `. For ${methods.join(" and ")}` : ""}. Default: ${defaultWords}`;
}

/** The settings of one part of the form, those with a place of their own left out. */
export function rareOf(settings, part = null) {
  return settings.filter((each) => !PLACED.has(each.name) && (part === null || each.part === part));
}

/** Whether a setting means anything to the methods chosen. */
export function applies(setting, values) {
  return setting.methods === null || setting.methods.some((method) => values.method.includes(method));
}

export function named(settings, name) {
  return settings.find((each) => each.name === name);
}
