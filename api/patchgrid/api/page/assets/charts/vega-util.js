// The interpreter's few needs of vega-util, which vega.min.js carries and which is loaded before.
export const { DisallowedObjectProperties, ascending, isString } = globalThis.vega;
