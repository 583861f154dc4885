// Numbers and times as people read them.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const NONE = "–";
const MINUS = "−";

export function count(value) {
  return value === null || value === undefined ? NONE : WHOLE.format(value);
}

/** The power of ten of a number's first digit, after rounding to `digits` digits. */
function power(value, digits) {
  return Number(value.toExponential(digits - 1).split("e")[1]);
}

/** A number with `places` decimals, or with an exponent if its `size` is very small or large. */
function fixed(value, places, size = Math.abs(value)) {
  if (value !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(Math.max(0, places + power(value, 1))).replace(/-/g, MINUS);
  const decimals = Math.max(0, places);
  const text = Math.abs(value).toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

/** A number with `digits` significant digits: 0.0123, 4.57, 1,234. The command line does the same (`number_format.py`). */
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  return value === 0 ? "0" : fixed(value, digits - 1 - power(value, digits));
}

/**
 * An estimate and its interval: `["8.8140", "± 0.0070"]`. Half the interval has two significant digits, the estimate as
 * many decimals, but seven digits at most; ends in place of ± where the interval is not symmetric about the estimate.
 */
export function withInterval(value, low, high) {
  const known = [value, low, high].every(Number.isFinite);
  if (!known) return [number(value), NONE];
  const half = (high - low) / 2;
  if (half <= 0) return [number(value, 4), "± 0"];
  const places = 1 - power(half, 2);
  const beside = (each) => fixed(each, each === 0 ? places : Math.min(places, 6 - power(each, 7)), Math.max(Math.abs(each), half < 1 ? half : 0));
  if (Math.abs(low + high - 2 * value) <= 0.01 * half) return [beside(value), `± ${number(half, 2)}`];
  return [beside(value), `${beside(low)} to ${beside(high)}`];
}

/** A figure with its standard error, to one digit: `1.33 ± 0.04`. The command line does the same. */
export function withError(value, error) {
  if (!Number.isFinite(value ?? NaN) || !Number.isFinite(error ?? NaN) || error <= 0) return number(value);
  const places = -power(error, 1);
  const beside = fixed(value, value === 0 ? places : Math.min(places, 6 - power(value, 7)), Math.max(Math.abs(value), error < 1 ? error : 0));
  return `${beside} ± ${number(error, 1)}`;
}

/** A share with its standard error: `99.4 ± 0.6 %`. */
export function percentWithError(share, error) {
  if (!Number.isFinite(share ?? NaN)) return NONE;
  return `${withError(100 * share, Number.isFinite(error ?? NaN) ? 100 * error : null)} %`;
}

export function percent(part, whole = 1) {
  if (part === null || part === undefined || !whole) return NONE;
  const share = (100 * part) / whole;
  return `${share > 0 && share < 1 ? share.toFixed(1) : Math.floor(share)} %`;
}

/** How many cells were patched exactly, of how many. */
export function coverageWords({ patched, cells }) {
  return patched ? `${count(patched)} of ${count(cells)} cells (${percent(patched, cells)}) patched exactly` : "nothing patched exactly";
}

export function seconds(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value < 10) return `${number(value, 2)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  if (value < 129600) return `${(value / 3600).toFixed(1)} h`;
  return `${(value / 86400).toFixed(1)} days`;
}

/** How long ago, from seconds since 1970. */
export function ago(stamp) {
  if (!stamp) return NONE;
  const passed = Date.now() / 1000 - stamp;
  if (passed < 0) return passed > -5 ? "just now" : `in ${seconds(-passed)}`;
  return passed < 2 ? "just now" : `${seconds(passed)} ago`;
}

export function moment(stamp) {
  if (!stamp) return "";
  return new Date(stamp * 1000).toLocaleString("sv", { timeZoneName: "short" });
}

export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${number(size, 3)} ${units[unit]}`;
}

/** A folder's last part; a hub's id as it is. */
export function shortModel(name) {
  return /^(\/|[A-Za-z]:[\\/])/.test(name) ? name.split(/[\\/]/).filter(Boolean).pop() : name;
}

/** The metric's name in words. */
export function metricWords(metric) {
  return { logit_diff: "logit difference", logprob: "log probability", prob_diff: "probability difference", kl: "KL divergence" }[metric] ?? metric;
}
