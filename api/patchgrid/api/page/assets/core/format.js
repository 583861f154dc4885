// Numbers and times as people read them.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const NONE = "–";
const MINUS = "−";

export function count(value) {
  return value === null || value === undefined ? NONE : WHOLE.format(value);
}

/** A number with `digits` significant digits and no more than it needs: 0.0123, 4.57, 1,234. */
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e6) return value.toExponential(digits - 1).replace(/-/g, MINUS);
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  const text = size.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
  return value < 0 ? MINUS + text : text;
}

/** Numbers to one number of places, that of the largest: a column reads better so. */
export function scaled(values, digits = 3) {
  const largest = Math.max(0, ...values.filter(Number.isFinite).map(Math.abs));
  if (largest === 0 || largest < 1e-4 || largest >= 1e6) return (value) => number(value, digits);
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(largest)));
  return (value) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
    const text = Math.abs(value).toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
    return value < 0 && Number(text.replace(/,/g, "")) !== 0 ? MINUS + text : text;
  };
}

export function interval(low, high, write = number) {
  return low === null || low === undefined ? NONE : `${write(low)} to ${write(high)}`;
}

export function percent(part, whole = 1) {
  if (part === null || part === undefined || !whole) return NONE;
  const share = (100 * part) / whole;
  return `${share > 0 && share < 1 ? share.toFixed(1) : Math.floor(share)} %`;
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
