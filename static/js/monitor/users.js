/** Finding users, chats and pushes, and what an administrator does with a user. */
import { ask } from "../ui/ask.js";
import { moment } from "../ui/formats.js";
import { html, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { address, api } from "./access.js";
import { PushTable } from "./pushes.js";

const ID = /^[0-9a-f]{24}$/;
const PUSH_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const MOST = 20;

async function look(query) {
  const [users, chats, pushes] = await Promise.all([
    api.get(address("/api/v1/users", ID.test(query) ? { ids: query } : { limit: MOST, query })),
    api.get(address("/api/v1/admin/chats", { limit: MOST, query })),
    PUSH_ID.test(query) ? api.get(address("/api/v1/admin/push/deliveries", { pushId: query })) : null,
  ]);
  return { users: users.items, chats: chats.items, pushes: pushes?.items };
}

export function Users({ trying }) {
  const [found, setFound] = useState(null);
  const [query, setQuery] = useState("");
  const [link, setLink] = useState("");
  const load = (text) => trying(async () => setFound(await look(text)));
  const search = (event) => {
    event.preventDefault();
    const text = String(new FormData(event.target).get("query")).trim();
    setQuery(text);
    setLink("");
    if (text) load(text);
  };
  const pushes = (user) => trying(async () => {
    setFound({ ...found, of: user, pushes: (await api.get(address("/api/v1/admin/push/deliveries", { limit: MOST, userId: user.id }))).items });
  });
  const act = async (user, verb, danger = false) => {
    if (danger && !(await ask({ title: t("suspendSure", { name: user.name }), action: t("suspend"), danger: true }))) return;
    trying(async () => {
      const answer = await api.post(`/api/v1/admin/users/${user.id}/${{ signOut: "sign-out", resetLink: "reset-link" }[verb] ?? verb}`);
      if (verb === "resetLink") setLink(answer.url ?? answer.token);
      await load(query);
    });
  };
  return html`
    <section class="card" aria-label=${t("users")}>
      <h2>${t("users")}</h2>
      <form role="search" onSubmit=${search}><input type="search" name="query" placeholder=${t("searchFor")} aria-label=${t("searchFor")} /></form>
      ${link && html`<p role="status">${t("resetLinkIs")} <code>${link}</code></p>`}
      ${found && !found.users.length && !found.chats.length && !found.pushes && html`<p class="hint">${t("nothingFound")}</p>`}
      ${found?.users.length > 0 && html`
        <h3>${t("users")}</h3>
        <ul>${found.users.map((user) => html`
          <li class="row wrap" key=${user.id}><span class="about"><bdi class="title">${user.name}</bdi>
            <span class="hint">${user.email ?? ""} <code>${user.id}</code></span></span>
            ${user.status && user.status !== "active" && html`<mark>${user.status}</mark>`}
            <span class="inline">
              <button type="button" class="plain" onClick=${() => pushes(user)}>${t("pushes")}</button>
              <button type="button" class="plain" onClick=${() => act(user, "resetLink")}>${t("resetLink")}</button>
              <button type="button" class="plain" onClick=${() => act(user, "signOut")}>${t("signOut")}</button>
              ${user.status === "banned"
                ? html`<button type="button" class="quiet" onClick=${() => act(user, "unban")}>${t("unsuspend")}</button>`
                : html`<button type="button" class="danger" onClick=${() => act(user, "ban", true)}>${t("suspend")}</button>`}
            </span></li>`)}</ul>`}
      ${found?.chats.length > 0 && html`
        <h3>${t("chats")}</h3>
        <ul>${found.chats.map((chat) => html`
          <li class="row" key=${chat._id}><span class="about"><bdi class="title">${chat.name ?? chat.type}</bdi>
            <span class="hint"><code>${chat._id}</code> · ${t("memberCount", { count: chat.memberCount })} · ${moment(chat.createdAt)}</span></span></li>`)}</ul>`}
      ${found?.pushes && html`<h3>${t("pushes")} <bdi>${found.of?.name}</bdi></h3><${PushTable} items=${found.pushes} />`}
    </section>`;
}
