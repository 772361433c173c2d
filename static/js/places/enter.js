/** Logging in, registering, and setting a password by a link. */
import { isInvited } from "../model/invites.js";
import { reasonOf } from "../model/reasons.js";
import { api } from "../model/session.js";
import { logIn } from "../model/sync.js";
import { ask } from "../ui/ask.js";
import { html, useState } from "../ui/html.js";
import { PasswordField } from "../ui/password.js";
import { choose, language, LANGUAGES, t } from "../ui/texts.js";

const parameters = new URLSearchParams(location.hash.slice(1));
const reset = parameters.get("reset");
const invitation = parameters.get("invitation");
// Why the last login ended. Read once: the page of that login may draw itself once more before it is gone.
const ended = sessionStorage.getItem("bellwire.ended") ?? "";
sessionStorage.removeItem("bellwire.ended");
if (reset || invitation) history.replaceState(null, "", "/");

const ACTIONS = { login: "logIn", register: "register", reset: "setPassword" };

export function Enter() {
  const [verb, setVerb] = useState(reset ? "reset" : invitation ? "register" : "login");
  const [problem, setProblem] = useState(ended);
  const [busy, setBusy] = useState(false);

  async function submit(event) {
    event.preventDefault();
    const { email, password, name } = /** @type {Record<string, string>} */ (Object.fromEntries(new FormData(event.target)));
    setBusy(true);
    try {
      if (verb === "reset") {
        await api.call("POST", "/api/v1/auth/reset", { body: { token: reset, password }, token: null });
        setProblem(t("passwordSet"));
        setVerb("login");
      } else {
        await logIn(verb, { email, password, ...(verb === "register" && { name, ...(invitation && { invitation }) }) });
      }
    } catch (error) {
      setProblem(reasonOf(error));
    }
    setBusy(false);
  }

  const other = verb === "login" ? "register" : "login";
  const forgot = () => ask({ title: t("forgotPassword"), text: t("forgotPasswordHint"), action: t("close") });
  return html`
    <main class="enter">
      <div class="corner"><${Languages} /></div>
      <form onSubmit=${submit} key=${verb}>
        <h1><img src="/static/images/logo.svg" alt="" />Bellwire</h1>
        <h2>${t(ACTIONS[verb])}</h2>
        ${verb === "register" && html`<label>${t("yourName")}<input name="name" autocomplete="name" maxlength="255" required autofocus /></label>`}
        ${verb !== "reset" && html`<label>${t("email")}<input name="email" type="email" autocomplete="email" required autofocus=${verb === "login"} /></label>`}
        <${PasswordField} name="password" label=${t(verb === "reset" ? "newPassword" : "password")}
          autocomplete=${verb === "login" ? "current-password" : "new-password"} hint=${verb === "login" ? "" : t("passwordRule")} />
        ${isInvited() && html`<p class="hint" role="status">${t("joinAfter")}</p>`}
        ${problem && html`<p role="alert">${problem}</p>`}
        <button name="action" value=${verb} disabled=${busy}>${t(ACTIONS[verb])}</button>
        <p class="inline">
          <button type="button" class="plain" onClick=${() => { setVerb(other); setProblem(""); }}>
            ${t(other === "register" ? "toRegister" : "toLogIn")}</button>
          ${verb === "login" && html`<button type="button" class="plain" onClick=${forgot}>${t("forgotPassword")}</button>`}
        </p>
      </form>
    </main>`;
}

export function Languages() {
  const change = (event) => { choose(event.target.value); location.reload(); };
  return html`
    <label>${t("language")}
      <select name="language" onChange=${change}>
        ${Object.entries(LANGUAGES).map(([code, texts]) => html`<option value=${code} selected=${code === language()}>${texts.name}</option>`)}
      </select></label>`;
}
