/** The tenant: who may register, and invitations. */
import { html, useEffect, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { api } from "./access.js";

const MODES = ["closed", "invitation", "domain", "open"];

export function Tenant({ trying }) {
  const [tenant, setTenant] = useState(null);
  const [invited, setInvited] = useState("");
  const [said, setSaid] = useState("");
  useEffect(() => { trying(async () => setTenant(await api.get("/api/v1/admin/tenant"))); }, []);
  const save = (event) => {
    event.preventDefault();
    const { registration, domains } = /** @type {Record<string, string>} */ (Object.fromEntries(new FormData(event.target)));
    trying(async () => {
      setTenant(await api.patch("/api/v1/admin/tenant", { registration, domains: domains.split(/[\s,]+/).filter(Boolean) }));
      setSaid(t("saved"));
    });
  };
  const invite = (event) => {
    event.preventDefault();
    const email = String(new FormData(event.target).get("email")).trim();
    trying(async () => {
      const { token } = await api.post("/api/v1/admin/invitations", email ? { email } : {});
      setInvited(`${location.origin}/#invitation=${encodeURIComponent(token)}`);
    });
  };
  if (!tenant) return html`<p class="hint">${t("loading")}</p>`;
  return html`
    <section class="card" aria-label=${t("tenant")}>
      <h2>${t("tenant")}: <bdi>${tenant.name ?? ""}</bdi></h2>
      <form onSubmit=${save}>
        <label>${t("registration")}<select name="registration">
          ${MODES.map((each) => html`<option value=${each} selected=${each === tenant.registration}>${t(`registration_${each}`)}</option>`)}</select></label>
        <label>${t("domains")}<input name="domains" defaultValue=${(tenant.domains ?? []).join(" ")} placeholder="example.org" /></label>
        <button>${t("save")}</button>
        <p role="status">${said}</p>
      </form>
    </section>
    <section class="card" aria-label=${t("invitation")}>
      <h2>${t("invitation")}</h2>
      <form class="inline" onSubmit=${invite}><input name="email" type="email" placeholder=${t("emailOptional")} aria-label=${t("emailOptional")} /><button>${t("invite")}</button></form>
      ${invited && html`<p role="status"><code>${invited}</code></p>`}
    </section>`;
}
