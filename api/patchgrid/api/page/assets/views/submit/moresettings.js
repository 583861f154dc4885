import { html } from "../../core/ui.js";
import { CheckField, ChoiceField, TextField } from "../../parts/forms/fields.js";
import { applies, hintOf, rareOf } from "./settings.js";

const PARTS = [
  ["query", "What is measured"],
  ["method", "Options of methods"],
  ["job", "How it is run and kept"],
  ["queue", "How it is read and queued"],
];

/** Settings that few jobs change. */
export function MoreSettings({ form, open, onToggle }) {
  return html`<details class="more" open=${open} onToggle=${(event) => onToggle(event.target.open)}>
    <summary>More settings</summary>
    ${PARTS.map(
      ([part, legend]) =>
        html`<fieldset key=${part} class="group">
          <legend>${legend}</legend>
          <div class="fields">${rareOf(form.settings, part).map((setting) => html`<${SettingField} key=${setting.name} form=${form} setting=${setting} />`)}</div>
        </fieldset>`,
    )}
  </details>`;
}

/** The field of any setting. */
export function SettingField({ form, setting, label = setting.label }) {
  const { name, kind } = setting;
  const about = { form, name, label, hint: hintOf(setting), disabled: !applies(setting, form.values) };
  if (kind === "flag") return html`<${CheckField} ...${about} />`;
  if (kind === "choice") return html`<${ChoiceField} ...${about} options=${optionsOf(setting)} />`;
  if (kind === "number") return html`<${TextField} ...${about} kind="number" step="1" min=${setting.least} max=${setting.most} />`;
  return html`<${TextField} ...${about} maxlength=${setting.longest} spellcheck=${false} />`;
}

/** A choice's options as `[value, words]`. */
export function optionsOf({ choices }) {
  return choices.map(([name, words]) => [name, name && words ? `${name}: ${words}` : name || words]);
}
