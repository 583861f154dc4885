// A pair's exact effects as a grid: the picture of activation patching.

/** Least part of a grid's cells that is worth a picture. */
const ENOUGH = 0.5;

/** `{columns, values}`, layer by position or span, null where a cell was not patched; null: too few were. */
export function exactGrid(data, site) {
  const cells = data.exact.filter((cell) => cell.site === site && cell.head === null && cell.unit === null && !cell.edge && cell.position !== null);
  if (cells.length === 0) return null;
  const spans = cells.some((cell) => typeof cell.position === "string");
  const columns = spans ? [...new Set(cells.map((cell) => cell.position))] : data.tokens.map((_, place) => place);
  const values = Array.from({ length: 1 + Math.max(...cells.map((cell) => cell.layer)) }, () => columns.map(() => null));
  for (const cell of cells) values[cell.layer][columns.indexOf(cell.position)] = cell.effect;
  return cells.length < ENOUGH * values.length * columns.length ? null : { columns, values, spans };
}

/** The sites of which there is such a grid. */
export function sitesOf(data) {
  return [...new Set((data.exact ?? []).map((cell) => cell.site))].filter((site) => exactGrid(data, site));
}
