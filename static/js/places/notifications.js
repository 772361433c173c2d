/** The list of notifications, newest first. */
import { deleteNotification, loadMore, markAllRead, markRead } from "../model/notifications.js";
import { attempt, once, state } from "../model/state.js";
import { moment } from "../ui/formats.js";
import { html } from "../ui/html.js";
import { iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";

export function Notifications() {
  const { items, unread, cursor } = state.notifications;
  return html`
    <header><h2>${t("notifications")}</h2>
      ${unread > 0 && html`<button type="button" class="plain" onClick=${() => attempt(markAllRead)}>${t("markAllRead")}</button>`}</header>
    ${!items.length && html`<p class="hint">${t("noNotifications")}</p>`}
    <ul class="notifications">
      ${items.map((item) => html`<${Item} key=${item.id} item=${item} />`)}
      ${cursor && html`<li><button type="button" class="plain" onClick=${() => once("notifications", loadMore)}>${t("loadMore")}</button></li>`}
    </ul>`;
}

/** Where a notification leads, if a browser may go there. */
function target(url) {
  try {
    const found = new URL(url, location.href);
    return ["http:", "https:"].includes(found.protocol) ? found.href : null;
  } catch {
    return null;
  }
}

function Item({ item }) {
  const link = item.actionUrl && target(item.actionUrl);
  const read = () => { if (!item.read) attempt(() => markRead(item.id)); };
  return html`
    <li class=${item.read ? "notification" : "notification unread"}>
      <span class="about">
        <b class="title" dir="auto">${item.title}</b>
        <span dir="auto">${item.message}</span>
        <span class="hint"><bdi>${item.category}</bdi> · ${moment(item.createdAt)}</span>
        <span class="inline">
          ${link && html`<a href=${link} target="_blank" rel="noopener noreferrer" onClick=${read}>${t("openAction")}</a>`}
          ${!item.read && html`<button type="button" class="plain" onClick=${read}>${t("markRead")}</button>`}
        </span>
      </span>
      ${iconButton("close", t("delete"), () => attempt(() => deleteNotification(item.id)))}
    </li>`;
}
