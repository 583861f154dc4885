// Which field of the form a refusal speaks of: the API names it, or its words begin so.
import { OTHER } from "./spec.js";

const SAID = [
  [/^unknown site\b/, "sites"],
  [/^(no method given|a method is named twice)/, "method"],
  [/ scores (edges|nodes)\b/, "method"],
  [/^edge is a site of its own/, "sites"],
  [/^a path of /, "path"],
  [/^GradDrop /, "grad_drop"],
  [/^kl to the clean run/, "metric"],
  [/^(the )?key\b/, "key"],
  [/^unknown (\w+)/, null],
  [/^(steps|seed|exact|positions|detail|dtype) /, null],
];

function fieldOf(words) {
  for (const [pattern, field] of SAID) {
    const found = pattern.exec(words);
    if (found) return field ?? found[1];
  }
  return null;
}

/** A problem taken apart: `{fields: {name: words}, rest}`, `rest` being the problem itself if it is not of fields alone. */
export function takenApart(problem, values) {
  const fields = {};
  const errors = problem.errors ?? [];
  const place = (name, words) => {
    const known = name === "metric" && values.metric === OTHER ? "other_metric" : name;
    if (!(known in values)) return false;
    fields[known] ??= words;
    return true;
  };
  const ofFields = errors.filter((error) => isOfField(error) && place(error.field.split(".")[0], error.detail));
  if (errors.length > 0) return { fields, rest: ofFields.length === errors.length ? null : problem };
  const field = fieldOf(problem.message);
  return { fields, rest: field && place(field, problem.message) ? null : problem };
}

/** Lines of the pair file have fields as well, and are not the form's. */
function isOfField(error) {
  return Boolean(error.field) && (error.line ?? null) === null && (error.row ?? null) === null;
}
