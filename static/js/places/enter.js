/** Logging in, registering, and setting a password by a link. */
import { api } from "../model/session.js";
import { logIn } from "../model/sync.js";
import { html, useState } from "../ui/html.js";
import { choose, language, LANGUAGES, t } from "../ui/texts.js";

const reset = new URLSearchParams(location.hash.slice(1)).get("reset");
if (reset) history.replaceState(null, "", "/");

export function Enter() {
  const [verb, setVerb] = useState(reset ? "reset" : "login");
  const [problem, setProblem] = useState(sessionStorage.getItem("bellwire.ended") ?? "");
  const [busy, setBusy] = useState(false);
  sessionStorage.removeItem("bellwire.ended");

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
        await logIn(verb, verb === "register" && name ? { email, password, name } : { email, password });
      }
    } catch (error) {
      setProblem(error instanceof TypeError ? t("networkFailed") : error.message);
    }
    setBusy(false);
  }

  const other = verb === "login" ? "register" : "login";
  return html`
    <main class="enter">
      <form onSubmit=${submit}>
        <h1>Bellwire</h1>
        ${verb === "register" && html`<label>${t("yourName")}<input name="name" autocomplete="name" maxlength="255" required /></label>`}
        ${verb !== "reset" && html`<label>${t("email")}<input name="email" type="email" autocomplete="email" required /></label>`}
        <label>${t(verb === "reset" ? "newPassword" : "password")}
          <input name="password" type="password" minlength="8" required
            autocomplete=${verb === "login" ? "current-password" : "new-password"} /></label>
        <button name="action" value=${verb} disabled=${busy}>${t({ login: "logIn", register: "register", reset: "setPassword" }[verb])}</button>
        <p role="alert">${problem}</p>
        <button type="button" class="plain" onClick=${() => { setVerb(other); setProblem(""); }}>
          ${t(other === "register" ? "toRegister" : "toLogIn")}</button>
        <${Languages} />
      </form>
    </main>`;
}

export function Languages() {
  const change = (event) => { choose(event.target.value); location.reload(); };
  return html`
    <label>${t("language")}
      <select onChange=${change}>
        ${Object.entries(LANGUAGES).map(([code, texts]) => html`<option value=${code} selected=${code === language()}>${texts.name}</option>`)}
      </select></label>`;
}
