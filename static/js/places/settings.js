/** The settings of the user and of this browser. */
import { isOn, permission, supported, turnOff, turnOn } from "../model/push.js";
import { api, logOut, patchMe } from "../model/session.js";
import { attempt, changed, once } from "../model/state.js";
import { html } from "../ui/html.js";
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";
import { Languages } from "./enter.js";

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
    attempt(() => patchMe({ name: new FormData(event.target).get("name") }));
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
      <button type="button" onClick=${() => attempt(goOut)}>${t("logOut")}</button>
    </form>`;
}
