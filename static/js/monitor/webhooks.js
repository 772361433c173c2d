/** Webhooks: where calls go, and how they went. */
import { ask } from "../ui/ask.js";
import { moment } from "../ui/formats.js";
import { html, useEffect, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { api } from "./access.js";

export function Webhooks({ trying, looking }) {
  const [items, setItems] = useState([]);
  const [calls, setCalls] = useState(null);
  const [secret, setSecret] = useState("");
  const load = async () => setItems((await api.get("/api/v1/admin/webhooks?limit=100")).items);
  useEffect(() => looking(load, 10_000), []);

  const create = (event) => {
    event.preventDefault();
    const form = event.target;
    const { url, events } = /** @type {Record<string, string>} */ (Object.fromEntries(new FormData(form)));
    trying(async () => {
      const made = await api.post("/api/v1/admin/webhooks", { url, events: events.split(/[\s,]+/).filter(Boolean) });
      setSecret(made.secret);
      form.reset();
      await load();
    });
  };
  const change = (hook, values) => trying(async () => { await api.patch(`/api/v1/admin/webhooks/${hook.id}`, values); await load(); });
  const remove = async (hook) => {
    if (!(await ask({ title: t("deleteWebhookSure"), text: hook.url, action: t("delete"), danger: true }))) return;
    trying(async () => { await api.delete(`/api/v1/admin/webhooks/${hook.id}`); setCalls(null); await load(); });
  };
  const show = (hook) => trying(async () => setCalls({ hook, items: (await api.get(`/api/v1/admin/webhooks/${hook.id}/calls?limit=50`)).items }));
  const retry = (call) => trying(async () => { await api.post(`/api/v1/admin/webhooks/${calls.hook.id}/calls/${call.id}/retry`); await show(calls.hook); });

  return html`
    <section class="card" aria-label=${t("webhooks")}>
      <h2>${t("webhooks")}</h2>
      ${secret && html`<p role="status">${t("webhookSecret")} <code>${secret}</code></p>`}
      ${!items.length && html`<p class="hint">${t("noWebhooks")}</p>`}
      <ul>${items.map((hook) => html`
        <li class="row wrap" key=${hook.id}><span class="about"><bdi class="title">${hook.url}</bdi><span class="hint">${hook.events.join(", ")}</span></span>
          ${!hook.active && html`<mark>${t("off")}</mark>`}
          <span class="inline">
            <button type="button" class="plain" onClick=${() => show(hook)}>${t("calls")}</button>
            <button type="button" class="plain" onClick=${() => change(hook, { active: !hook.active })}>${t(hook.active ? "turnOff" : "turnOn")}</button>
            <button type="button" class="plain" onClick=${() => remove(hook)}>${t("delete")}</button></span></li>`)}</ul>
      <form onSubmit=${create}>
        <label>URL<input name="url" type="url" required placeholder="https://example.org/hooks" /></label>
        <label>${t("events")}<input name="events" required placeholder="message:new notification:new" autocomplete="off" /></label>
        <button>${t("create")}</button>
      </form>
    </section>
    ${calls && html`
      <section class="card" aria-label=${t("calls")}>
        <h2>${t("calls")} <bdi class="hint">${calls.hook.url}</bdi></h2>
        ${!calls.items.length && html`<p class="hint">${t("nothingFound")}</p>`}
        <div class="scrolling" tabindex="0" role="group" aria-label=${t("calls")}><table>
          <tbody>${calls.items.map((call) => html`
            <tr key=${call.id}><td>${call.event}<br /><span class="hint">${moment(call.createdAt)}</span></td><td>${call.state} ${call.status ?? ""} ${call.reason ?? ""}</td>
              <td class="figure">${call.attempts}</td><td>${call.state === "dead" && html`<button type="button" class="plain" onClick=${() => retry(call)}>${t("retry")}</button>`}</td></tr>`)}</tbody>
        </table></div>
      </section>`}`;
}
