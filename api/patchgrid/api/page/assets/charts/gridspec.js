const LEGEND = 140;
const AXIS = 62;
/** A chart less wide than this has its legend below: beside it, it would take the room or scroll out of sight. */
const NARROW = 520;
const LARGEST = 36;
const SMALLEST = 13;
/** Least room between two labels, and between the beginnings of two slanted ones: a line's height across the slant. */
const GAP = 6;
const ANGLE = 50;
const SLANTED = 13 / Math.sin((ANGLE * Math.PI) / 180);
/** From the very edge: in the middle of what is left of it, rounding would put the first band below 0, and Vega drops its label. */
const BANDS = { paddingOuter: 0, align: 0 };
/** Stretched colours are about linear up to this part of the largest value, and logarithmic from there on. */
const STRETCH = 100;

/** The Vega-Lite description of a heatmap, colours `stretched` or linear; rows and columns are numbered, so that equal labels stay apart. */
export function gridSpec({ rows, columns, cells, columnTitle, rowTitle, legend, stretched, atEnd, width, colours }) {
  const below = width < NARROW;
  const room = Math.max(60, width - AXIS - (below ? 0 : LEGEND));
  const wide = Math.max(SMALLEST, Math.min(columns.length < 8 ? 76 : LARGEST, room / columns.length));
  const high = Math.max(6, Math.min(LARGEST, columns.length < 8 ? 24 : wide, 720 / rows.length));
  const limit = Math.max(...cells.map((cell) => Math.abs(cell.value ?? 0)), 0) || 1;
  const longest = Math.max(0, ...columns.map((label) => textWidth(labelled(label))));
  const slanted = !columns.every(isNumber) && longest + GAP > wide;
  // Where the last columns are shown first, layers are named beside them.
  const side = atEnd && wide * columns.length > room ? "right" : "left";
  const names = (list, scale) => ({
    labelExpr: list.length ? `${JSON.stringify(list.map(labelled))}[datum.value]` : "datum.label",
    values: thinned(list.length, scale, atEnd && list === columns),
  });
  return {
    width: Math.max(1, Math.floor(wide * columns.length)),
    height: Math.floor(high * rows.length),
    padding: 2,
    autosize: { type: "pad" },
    config: { legend: { layout: { bottom: { anchor: side === "right" ? "end" : "start" } } } },
    data: { values: cells.map(({ row, column, value, clear, guess }) => ({ row, column, value, clear: Boolean(clear), guess: Boolean(guess) && value !== null, key: `${row}/${column}` })) },
    params: [{ name: "marked", value: "" }],
    encoding: {
      x: {
        field: "column",
        type: "ordinal",
        scale: { domain: indices(columns), paddingInner: wide > 9 ? 0.06 : 0, ...BANDS },
        axis: {
          title: columnTitle,
          orient: "top",
          labelAngle: slanted ? -ANGLE : 0,
          labelAlign: slanted ? "left" : "center",
          labelPadding: slanted ? 2 : 5,
          domain: false,
          ticks: false,
          ...names(columns, wide / (slanted ? SLANTED : longest + GAP)),
        },
      },
      y: {
        field: "row",
        type: "ordinal",
        scale: { domain: indices(rows), paddingInner: high > 9 ? 0.06 : 0, ...BANDS },
        axis: { title: rowTitle, orient: side, domain: false, ticks: false, ...names(rows, high / 12) },
      },
    },
    layer: [
      {
        transform: [{ filter: "datum.value === null" }],
        mark: { type: "rect", color: colours.none },
      },
      {
        transform: [{ filter: "datum.value !== null" }],
        mark: { type: "rect" },
        encoding: {
          color: {
            field: "value",
            type: "quantitative",
            scale: {
              ...(stretched && { type: "symlog", constant: limit / STRETCH }),
              domain: [-limit, 0, limit],
              range: [colours.negative, colours.middle, colours.positive],
              interpolate: "lab",
            },
            legend: legendOf(legend, below, below ? width - AXIS : high * rows.length - 24),
          },
        },
      },
      {
        // A stroke: a mean score among estimates.
        transform: [{ filter: "datum.guess" }],
        mark: { type: "point", shape: "M-0.6,0.6L0.6,-0.6", size: Math.min(wide, high) ** 2, strokeWidth: 1, color: colours.text, opacity: 0.6 },
      },
      {
        transform: [{ filter: "datum.clear" }],
        mark: { type: "circle", size: wide > 14 ? 9 : 3, color: colours.text, opacity: 0.75 },
      },
      {
        transform: [{ filter: "datum.key === marked" }],
        mark: { type: "rect", fillOpacity: 0, stroke: colours.text, strokeWidth: 2 },
      },
    ],
  };
}

function legendOf(title, below, room) {
  const length = Math.max(60, Math.min(200, room));
  return {
    title: below ? [title].flat().join(" ") : title,
    orient: below ? "bottom" : "right",
    direction: below ? "horizontal" : "vertical",
    gradientLength: length,
    gradientThickness: 10,
    tickCount: Math.max(3, Math.min(5, Math.floor(length / 22))),
    format: ".3~r",
    titleLimit: below ? 300 : LEGEND - 8,
  };
}

function indices(list) {
  return list.map((_, index) => index);
}

/** Numbers below 0 with a real minus sign, as elsewhere on the page. */
export function labelled(label) {
  return isNumber(label) ? String(label).replace("-", "−") : String(label);
}

let pen = null;

/** How wide a label is, in pixels. */
function textWidth(text) {
  pen ??= document.createElement("canvas").getContext("2d");
  pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  return pen.measureText(text).width;
}

function isNumber(label) {
  return typeof label === "number" || /^-?\d+$/.test(label);
}

/** Which labels to write so that they do not run into each other; `room` is the room of one in labels; the last one is written where they are counted `fromEnd`. */
function thinned(length, room, fromEnd) {
  const step = [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100].find((each) => each * room >= 1) ?? 128;
  const places = Array.from({ length: Math.ceil(length / step) }, (_, index) => index * step);
  return fromEnd ? places.map((place) => length - 1 - place).reverse() : places;
}
