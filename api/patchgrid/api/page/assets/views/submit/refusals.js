// Which fields of the form a refusal speaks of, as the API names them.
import { OTHER } from "./spec.js";

/** A problem taken apart: `{fields: {name: words}, rest}`, `rest` being the problem itself if it is not of fields alone. */
export function takenApart(problem, values) {
  const fields = {};
  const errors = problem.errors ?? [];
  const placed = errors.filter((error) => {
    if (!isOfField(error)) return false;
    const name = error.field.split(".")[0];
    const known = name === "metric" && values.metric === OTHER ? "other_metric" : name;
    if (!(known in values)) return false;
    fields[known] ??= error.detail;
    return true;
  });
  return { fields, rest: errors.length > 0 && placed.length === errors.length ? null : problem };
}

/** Lines of the pair file have fields as well, and are not the form's. */
function isOfField(error) {
  return Boolean(error.field) && (error.line ?? null) === null && (error.row ?? null) === null;
}
