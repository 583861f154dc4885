import { choose } from "../../core/nav/route.js";
import { html } from "../../core/ui.js";
import { Check } from "./controls.js";

/** Whether colours tell small values apart beside a large one. */
export function isStretched(params) {
  return params.colours === "log";
}

export function Stretch({ params }) {
  return html`<${Check}
    label="Log colour scale"
    hint="Logarithmic on both sides of 0, to bring out small values"
    checked=${isStretched(params)}
    onChange=${(on) => choose({ colours: on ? "log" : null })}
  />`;
}
