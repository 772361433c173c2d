/** Notifications to all users. */
import { newKey } from "@bellwire/client";

import { moment, number } from "../ui/formats.js";
import { html, useEffect, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { api } from "./access.js";

export function Broadcasts({ trying, looking }) {
  const [draft, setDraft] = useState({});
  const [items, setItems] = useState([]);
  const load = async () => setItems((await api.get("/api/v1/admin/broadcasts?limit=20")).items);
  useEffect(() => looking(load), []);

  const preview = (event) => {
    event.preventDefault();
    const { title, message } = Object.fromEntries(new FormData(event.target));
    trying(async () => {
      const { recipients } = await api.post("/api/v1/admin/broadcasts", { title, message, preview: true });
      setDraft({ title, message, recipients, key: newKey() });
    });
  };
  const send = () => trying(async () => {
    const { title, message, key } = draft;
    await api.post("/api/v1/admin/broadcasts", { title, message }, key);
    setDraft({});
    await load();
  });

  return html`
    <section class="card" aria-label=${t("broadcast")}>
      <h2>${t("broadcast")}</h2>
      ${draft.key
        ? html`
          <p>${t("broadcastTo", { count: draft.recipients })}</p>
          <blockquote dir="auto"><b>${draft.title}</b><br />${draft.message}</blockquote>
          <p class="inline"><button type="button" onClick=${send}>${t("sendBroadcast")}</button>
            <button type="button" class="quiet" onClick=${() => setDraft({ ...draft, key: null })}>${t("cancel")}</button></p>`
        : html`
          <form onSubmit=${preview}>
            <label>${t("broadcastTitle")}<input name="title" defaultValue=${draft.title ?? ""} required maxlength="255" /></label>
            <label>${t("broadcastMessage")}<textarea name="message" rows="3" defaultValue=${draft.message ?? ""} required maxlength="4000"></textarea></label>
            <button>${t("preview")}</button>
          </form>`}
      <ul>${items.map((item) => html`
        <li class="row" key=${item.id}><span class="about"><bdi class="title">${item.title}</bdi>
          <span class="hint">${moment(item.createdAt)} · ${t(item.doneAt ? "broadcastDone" : "broadcastState", { sent: number(item.sent), recipients: number(item.recipients) })}</span></span></li>`)}</ul>
    </section>`;
}
