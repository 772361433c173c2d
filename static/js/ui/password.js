/** A field for a password, which can be shown. */
import { html, useState } from "./html.js";
import { iconButton } from "./icons.js";
import { t } from "./texts.js";

export function PasswordField({ name, label, autocomplete, hint = "" }) {
  const [shown, setShown] = useState(false);
  return html`
    <label>${label}
      <span class="field">
        <input name=${name} type=${shown ? "text" : "password"} minlength=${autocomplete === "new-password" ? 8 : null} required autocomplete=${autocomplete} />
        ${iconButton(shown ? "eye-off" : "eye", t(shown ? "hidePassword" : "showPassword"), (event) => { event.preventDefault(); setShown(!shown); })}
      </span>
      ${hint && html`<span class="hint">${hint}</span>`}
    </label>`;
}
