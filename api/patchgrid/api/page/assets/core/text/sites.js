// What kinds of activation there are, in the order a forward pass reaches them: the server gives their records.

import { SITE_RECORDS } from "../../../records.js";

const named = (field) => Object.fromEntries(SITE_RECORDS.map((site) => [site.name, site[field]]));

export const SITES = SITE_RECORDS.map((site) => site.name);
export const SITE_WORDS = named("words");

const HEADS = named("heads");
const WIDE = named("wide");

export const hasHeads = (site) => HEADS[site] ?? false;
export const isWide = (site) => WIDE[site] ?? false;

/** Sites whose colours can share one scale: what layers add, and the stream itself. */
export const COLUMNS = [
  { title: "Added by each layer", sites: ["attn_out", "mlp_out"] },
  { title: "Residual stream", sites: ["resid_pre", "resid_mid", "resid_post"] },
];
