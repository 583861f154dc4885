// What kinds of activation there are, in the order a forward pass reaches them.

export const SITES = ["resid_pre", "q", "k", "v", "z", "attn_out", "resid_mid", "mlp_post", "mlp_out", "resid_post", "edge"];
export const SITE_WORDS = {
  resid_pre: "residual stream before a layer",
  q: "queries, by head",
  k: "keys, by head",
  v: "values, by head",
  z: "head outputs",
  attn_out: "attention's addition to the stream",
  resid_mid: "residual stream between attention and MLP",
  mlp_post: "neurons",
  mlp_out: "MLP's addition to the stream",
  resid_post: "residual stream after a layer",
  edge: "edges between components",
};
export const NODE_METHODS = ["atp", "atp*", "ig", "relp"];
export const EDGE_METHODS = ["eap", "eap-ig"];
export const METHOD_WORDS = {
  atp: "attribution patching",
  "atp*": "AtP*: queries and keys through the softmax",
  ig: "integrated gradients",
  relp: "relevance patching",
  eap: "edge attribution patching",
  "eap-ig": "edges, integrated gradients",
};

const HEADS = new Set(["q", "k", "v", "z"]);
const WIDE = new Set(["mlp_post", "edge"]);

export const hasHeads = (site) => HEADS.has(site);
export const isWide = (site) => WIDE.has(site);

/** Sites whose colours can share one scale: what layers add, and the stream itself. */
export const COLUMNS = [
  { title: "Added by each layer", sites: ["attn_out", "mlp_out"] },
  { title: "Residual stream", sites: ["resid_pre", "resid_mid", "resid_post"] },
];
