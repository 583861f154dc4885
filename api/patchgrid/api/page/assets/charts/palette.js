// The page's own colours, as the browser resolves them now.

const NAMES = ["text", "muted", "line", "surface", "accent", "negative", "middle", "positive", "early", "late", "none"];

export function palette() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const colours = {};
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    colours[name] = getComputedStyle(probe).color;
  }
  colours.font = getComputedStyle(document.body).fontFamily;
  probe.remove();
  return colours;
}

/** What all charts look like. */
export function config(colours) {
  const text = { labelColor: colours.muted, titleColor: colours.muted, labelFont: colours.font, titleFont: colours.font };
  return {
    background: null,
    font: colours.font,
    view: { stroke: null },
    axis: {
      ...text,
      domainColor: colours.line,
      gridColor: colours.line,
      tickColor: colours.line,
      labelFontSize: 11,
      titleFontSize: 11,
      titleFontWeight: "normal",
      labelLimit: 120,
    },
    legend: { ...text, labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal", titleLimit: 220 },
  };
}
