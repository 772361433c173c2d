/** Oneself: the name, the language, the way out. */
import { Languages } from "./enter.js";
import { say } from "./notice.js";
import { isOn, permission, supported, turnOff, turnOn } from "./push.js";
import { api, changed, logOut, once, renameMe, trying } from "./store.js";
import { t } from "./texts.js";
import { html } from "./view.js";

async function toggle() {
  if (isOn()) await turnOff();
  else if (!(await turnOn())) say(t("pushUnavailable"));
  changed();
}

async function goOut() {
  // The server forgets the device with the login, even where the push service does not answer.
  await turnOff().catch(() => {});
  await logOut();
}

function Push() {
  if (!supported) return null;
  if (permission() === "denied") return html`<p class="hint">${t("pushDenied")}</p>`;
  return html`<button type="button" onClick=${() => once("push", toggle)}>${t(isOn() ? "pushOff" : "pushOn")}</button>`;
}

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
      <${Push} />
      <p><a href="/docs">${t("docs")}</a></p>
      <button type="button" onClick=${() => trying(goOut)}>${t("logOut")}</button>
    </form>`;
}
