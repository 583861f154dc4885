// A pair's scores as the API gives them, of any shape, summed over the axes that are not needed.

/** `whole`: [layer(, inner)]; `positions`: [layer, position(, inner)]. Edges are numbered, not laid out in layers. */
export function shapeOf(scores, site, withPositions) {
  if (!scores || scores.length === 0 || site === "edge") return null;
  return withPositions ? "positions" : "whole";
}

const sum = (value) => (Array.isArray(value) ? value.reduce((total, each) => total + sum(each), 0) : (value ?? 0));

/** Layer by position, summed over heads or neurons; or of one head alone. */
export function byPosition(scores, head = null) {
  return scores.map((positions) => positions.map((value) => (head === null || !Array.isArray(value) ? sum(value) : value[head])));
}

/** Layer by head, or layer by nothing: summed over positions where there are any. */
export function byHead(scores, shape) {
  if (shape === "whole") return scores.map((layer) => (Array.isArray(layer) ? layer : [layer]));
  return scores.map((positions) => {
    const inner = Array.isArray(positions[0]) ? positions[0].length : 1;
    return Array.from({ length: inner }, (_, head) => positions.reduce((total, value) => total + (Array.isArray(value) ? value[head] : value), 0));
  });
}

/** One score a token: over all layers, or of one. */
export function byToken(grid, layer = null) {
  if (grid.length === 0) return [];
  return grid[0].map((_, place) => (layer === null ? grid.reduce((total, row) => total + row[place], 0) : grid[layer][place]));
}
