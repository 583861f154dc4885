import { html } from "../../core/ui.js";

/**
 * Fields of a form by name: a label, the control, what it means in few words, and what is wrong with it.
 *
 * `form` is `{values, errors, change(changes)}`; a field's name is the API's.
 */
function Labelled({ form, name, label, hint, control }) {
  const error = form.errors[name];
  const described = [hint && `about-${name}`, error && `wrong-${name}`].filter(Boolean).join(" ");
  const about = {
    id: `field-${name}`,
    name,
    "aria-describedby": described || undefined,
    "aria-invalid": error ? "true" : undefined,
  };
  return html`<div class="field">
    <label for=${about.id}>${label}</label>
    ${control(about)}
    <${About} name=${name} hint=${hint} error=${error} />
  </div>`;
}

/** What is said below a field. */
function About({ name, hint, error }) {
  return html`${error && html`<p class="wrong" id=${`wrong-${name}`}>${error}</p>`} ${hint && html`<p class="about" id=${`about-${name}`}>${hint}</p>`}`;
}

export function TextField({ form, name, label, hint, kind = "text", ...rest }) {
  const control = (about) =>
    html`<input ...${about} type=${kind} value=${form.values[name]} onInput=${(event) => form.change({ [name]: event.target.value })} ...${rest} />`;
  return html`<${Labelled} form=${form} name=${name} label=${label} hint=${hint} control=${control} />`;
}

/** A choice; options are texts or `[value, words]`. */
export function ChoiceField({ form, name, label, hint, options, ...rest }) {
  const value = form.values[name];
  const control = (about) =>
    html`<select ...${about} value=${value} onChange=${(event) => form.change({ [name]: event.target.value })} ...${rest}>
      ${options.map((option) => {
        const [each, words] = Array.isArray(option) ? option : [option, option];
        return html`<option key=${each} value=${each} selected=${each === value}>${words}</option>`;
      })}
    </select>`;
  return html`<${Labelled} form=${form} name=${name} label=${label} hint=${hint} control=${control} />`;
}

export function CheckField({ form, name, label, hint, ...rest }) {
  const error = form.errors[name];
  return html`<div class="field">
    <label class="check">
      <input
        type="checkbox"
        id=${`field-${name}`}
        name=${name}
        checked=${form.values[name]}
        aria-describedby=${`about-${name}${error ? ` wrong-${name}` : ""}`}
        aria-invalid=${error ? "true" : undefined}
        onChange=${(event) => form.change({ [name]: event.target.checked })}
        ...${rest}
      />
      <span>${label}</span>
    </label>
    <${About} name=${name} hint=${hint} error=${error} />
  </div>`;
}

/** Several of some names, each with its words. */
export function BoxesField({ form, name, legend, names, words, onChange }) {
  const chosen = form.values[name];
  const error = form.errors[name];
  const flip = (each, on) => onChange(on ? [...chosen, each] : chosen.filter((other) => other !== each));
  return html`<fieldset class="boxes" aria-describedby=${error ? `wrong-${name}` : undefined}>
    <legend>${legend}</legend>
    ${names.map(
      (each) =>
        html`<label key=${each} class="check">
          <input
            type="checkbox"
            name=${name}
            value=${each}
            checked=${chosen.includes(each)}
            aria-invalid=${error ? "true" : undefined}
            onChange=${(event) => flip(each, event.target.checked)}
          />
          <span><code>${each}</code> <span class="muted">${words[each]}</span></span>
        </label>`,
    )}
    <${About} name=${name} error=${error} />
  </fieldset>`;
}
