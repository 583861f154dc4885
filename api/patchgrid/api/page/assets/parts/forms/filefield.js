import { bytes } from "../../core/text/format.js";
import { html, useState } from "../../core/ui.js";

/** Choose a pair file, or drop it. */
export function FileField({ file, onFile, limit }) {
  const [over, setOver] = useState(false);
  function dropped(event) {
    event.preventDefault();
    setOver(false);
    if (event.dataTransfer.files.length > 0) onFile(event.dataTransfer.files[0]);
  }
  return html`<div
    class=${over ? "drop over" : "drop"}
    onDragOver=${(event) => {
      event.preventDefault();
      setOver(true);
    }}
    onDragLeave=${() => setOver(false)}
    onDrop=${dropped}
  >
    <label class="field">
      <span>Pair file</span>
      <input
        type="file"
        accept=".jsonl,.json,.csv,.parquet,.ndjson"
        aria-describedby="file-hint"
        onChange=${(event) => onFile(event.target.files[0] ?? null)}
      />
    </label>
    <p id="file-hint" class="muted">
      ${file ? html`<strong>${file.name}</strong>, ${bytes(file.size)}` : "JSONL, CSV, JSON or Parquet; or drop it here."}${limit ? `${file ? ". " : " "}Up to ${bytes(limit)}.` : ""}
    </p>
  </div>`;
}
