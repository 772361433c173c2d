/** The chat page: where one is, and what stands around it. */
import { Conversation } from "./chat/conversation.js";
import { Chats } from "./chat/list.js";
import { show } from "./model/navigation.js";
import { renew } from "./model/push.js";
import { readNewest } from "./model/receipts.js";
import { api, live, may, reportActive } from "./model/session.js";
import { onChange, state } from "./model/state.js";
import { start } from "./model/sync.js";
import { Credits } from "./places/credits.js";
import { Enter } from "./places/enter.js";
import { Notifications } from "./places/notifications.js";
import { Settings } from "./places/settings.js";
import { Streams } from "./places/streams.js";
import { number } from "./ui/formats.js";
import { html, render } from "./ui/html.js";
import { icon } from "./ui/icons.js";
import { notice } from "./ui/notice.js";
import { choose, t } from "./ui/texts.js";

const PLACES = { chats: Chats, notifications: Notifications, streams: Streams, credits: Credits, settings: Settings };
const ICONS = { chats: "chats", notifications: "bell", streams: "streams", credits: "credits", settings: "settings" };

let place = "chats";
let inChat = false;

function count(name) {
  if (name === "notifications") return state.notifications.unread;
  if (name === "chats") return [...state.chats.values()].reduce((sum, chat) => sum + (chat.mutedUntil ? 0 : chat.unreadCount), 0);
  return 0;
}

function Rail() {
  const entry = (name) => html`
    <a href=${`#/${name}`} aria-current=${place === name ? "page" : null} title=${t(name)}>
      ${icon(ICONS[name])}<span>${t(name)}</span>
      ${count(name) > 0 && html`<b class="badge" aria-label=${t("unread", { count: count(name) })}>${number(count(name))}</b>`}
    </a>`;
  return html`
    <nav class="rail" aria-label="Bellwire">
      ${Object.keys(PLACES).map(entry)}
      ${may("admin") && html`<a href="/monitor" title=${t("monitor")}>${icon("monitor")}<span>${t("monitor")}</span></a>`}
    </nav>`;
}

function Page() {
  if (!api.user) return html`<${Enter} />`;
  const Place = PLACES[place];
  const chat = state.chats.get(state.open);
  return html`
    ${state.connection !== "online" && html`<p class="banner" role="status">${t(state.connection)}</p>`}
    <div class=${inChat ? "page in-chat" : "page"}>
      <${Rail} />
      <aside aria-label=${t(place)}><${Place} /></aside>
      <main>${chat ? html`<${Conversation} key=${chat._id} chat=${chat} />` : html`<p class="empty">${t("pickChat")}</p>`}</main>
    </div>
    <p class="notice" role="status" aria-live="polite">${notice.text}</p>`;
}

function draw() {
  const unread = api.user ? count("chats") + count("notifications") : 0;
  document.title = unread ? `(${unread}) Bellwire` : "Bellwire";
  render(html`<${Page} />`, document.getElementById("app"));
}

function route() {
  const [, name, id, messageId] = location.hash.split("/");
  inChat = name === "chat";
  if (Object.hasOwn(PLACES, name) || inChat) place = inChat ? "chats" : name;
  if (inChat) show(id, { messageId, chosen: true });
  draw();
}

choose();
onChange(draw);
window.addEventListener("hashchange", route);
document.addEventListener("visibilitychange", () => {
  if (!live) return;
  reportActive();
  readNewest();
});
// Another tab logged in or out.
window.addEventListener("storage", (event) => {
  if (event.key === "bellwire.login" && !event.newValue !== !event.oldValue) location.reload();
});
if (api.user) {
  start();
  // Where it fails, the next start tries again.
  renew().catch(() => {});
}
route();
