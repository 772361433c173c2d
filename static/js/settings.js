/** Oneself: the name, the language, the way out. */
import { Languages } from "./enter.js";
import { api, logOut, renameMe, trying } from "./store.js";
import { t } from "./texts.js";
import { html } from "./view.js";

export function Settings() {
  const save = (event) => {
    event.preventDefault();
    trying(() => renameMe(new FormData(event.target).get("name")));
  };
  return html`
    <header><h2>${t("settings")}</h2></header>
    <form onSubmit=${save}>
      <p class="hint"><bdi>${t("loggedInAs", { email: api.user.email ?? api.user.name })}</bdi></p>
      <label>${t("yourName")}<input name="name" value=${api.user.name} maxlength="255" required /></label>
      <button>${t("save")}</button>
      <${Languages} />
      <p><a href="/docs">${t("docs")}</a></p>
      <button type="button" onClick=${() => trying(logOut)}>${t("logOut")}</button>
    </form>`;
}
