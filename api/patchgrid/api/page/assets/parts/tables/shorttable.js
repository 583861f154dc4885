import { count } from "../../core/text/format.js";
import { useKeptState } from "../../core/nav/kept.js";
import { html } from "../../core/ui.js";
import { Table } from "./table.js";

const SHOWN = 25;

/** A table of its first rows, and of all on request. */
export function ShortTable({ rows, ...rest }) {
  const [all, setAll] = useKeptState(rest.caption, false);
  const shown = all ? rows : rows.slice(0, SHOWN);
  return html`<${Table} rows=${shown} ...${rest} />
    ${shown.length < rows.length && html`<button type="button" onClick=${() => setAll(true)}>Show all ${count(rows.length)}</button>`}`;
}
