// Short names as the field writes them. Lists of components bring theirs, exactly patched cells do not.

const STEMS = { z: "a", attn_out: "a", mlp_out: "m", mlp_post: "m" };

/** `a9.h6` (z), `q9.h6`, `m5` (mlp_out), `m5.n70` (mlp_post), `a9` (attn_out), `resid_post3`, an edge's own. */
export function cellName(cell) {
  if (cell.component) return cell.component;
  const { site, layer, head, neuron, edge } = cell;
  const place = cell.span ?? cell.position;
  const stem = edge ?? `${STEMS[site] ?? site}${layer}${part("h", head)}${part("n", neuron)}`;
  return stem + (place === null || place === undefined ? "" : `@${place}`);
}

/** The name at all positions at once: a job's views know a component by it, whichever position a cell is. */
export function wholeName(cell) {
  return cellName({ ...cell, component: null, position: null, span: null });
}

function part(letter, index) {
  return index === null || index === undefined ? "" : `.${letter}${index}`;
}
