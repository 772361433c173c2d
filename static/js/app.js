/** The chat page: its places, and what is around them. */
import { Conversation } from "./chat/conversation.js";
import { Chats } from "./chat/list.js";
import { offerInvite, readInvite } from "./model/invites.js";
import { show } from "./model/navigation.js";
import { keepOffline, renew } from "./model/push.js";
import { api, live, may, reportActive } from "./model/session.js";
import { changed, onChange, state } from "./model/state.js";
import { start } from "./model/sync.js";
import { Credits } from "./places/credits.js";
import { Enter } from "./places/enter.js";
import { Notifications } from "./places/notifications.js";
import { Settings } from "./places/settings.js";
import { Streams } from "./places/streams.js";
import { onQuestion, Question } from "./ui/ask.js";
import { badge } from "./ui/attention.js";
import { number } from "./ui/formats.js";
import { html, render } from "./ui/html.js";
import { icon } from "./ui/icons.js";
import { notice } from "./ui/notice.js";
import { choose, t } from "./ui/texts.js";
import { chooseTheme } from "./ui/theme.js";

const PLACES = { chats: Chats, notifications: Notifications, streams: Streams, credits: Credits, settings: Settings };
const ICONS = { chats: "chats", notifications: "bell", streams: "streams", credits: "credits", settings: "settings" };
// What a badge can hold.
const SHOWN_MOST = 99;

// Where one of the two columns is shown, as in layout.css.
const narrow = matchMedia("(max-width: 699px)");

let place = "chats";
let inChat = false;

function count(name) {
  if (name === "notifications") return state.notifications.unread;
  if (name === "chats") return [...state.chats.values()].reduce((sum, chat) => sum + (chat.mutedUntil ? 0 : chat.unreadCount), 0);
  return 0;
}

function Badge({ count: unread }) {
  if (!unread) return null;
  return html`<b class="badge" aria-label=${t("unread", { count: unread })}>${unread > SHOWN_MOST ? `${SHOWN_MOST}+` : number(unread)}</b>`;
}

function Rail() {
  const entry = (name) => html`
    <a href=${`#/${name}`} aria-current=${place === name ? "page" : null} title=${t(name)}>
      ${icon(ICONS[name])}<span>${t(name)}</span><${Badge} count=${count(name)} />
    </a>`;
  return html`
    <nav class="rail" aria-label="Bellwire">
      ${state.chats.has(state.open) && html`<a class="skip" href="#messages" onClick=${skip}>${t("skip")}</a>`}
      <h1 class="unseen">Bellwire</h1>
      <img class="logo" src="/static/images/logo.svg" alt="" />
      ${Object.keys(PLACES).map(entry)}
      ${may("admin") && html`<a href="/monitor" title=${t("monitor")}>${icon("monitor")}<span>${t("monitor")}</span></a>`}
    </nav>`;
}

function Page() {
  if (!api.user) return html`<${Enter} /><${Question} />`;
  const Place = PLACES[place];
  const chat = state.chats.get(state.open);
  return html`
    ${state.connection !== "online" && html`<p class="banner" role="status">${t(state.connection)}</p>`}
    <div class=${inChat ? "page in-chat" : "page"}>
      <${Rail} />
      <section class="place" role=${narrow.matches && !inChat ? "main" : "complementary"} aria-label=${t(place)}><${Place} /></section>
      ${chat
        ? html`<${Conversation} key=${chat._id} chat=${chat} />`
        : html`<main>${place === "chats" && html`<div class="empty"><img src="/static/images/logo.svg" alt="" /><p>${t("pickChat")}</p></div>`}</main>`}
    </div>
    <p class="notice" role="status" aria-live="polite">${notice.text}</p>
    <${Question} />`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("messages").focus();
}

function draw() {
  const unread = api.user ? count("chats") + count("notifications") : 0;
  badge(unread);
  render(html`<${Page} />`, document.getElementById("app"));
}

function route() {
  readInvite();
  const [, name, id, messageId] = location.hash.split("/");
  inChat = name === "chat";
  if (Object.hasOwn(PLACES, name) || inChat) place = inChat ? "chats" : name;
  if (inChat) show(id, { messageId, chosen: true });
  draw();
  offerInvite();
}

/** Ctrl+K and / go to the search, Escape leaves a chat's field for the list. */
function keyed(event) {
  const isTyping = /** @type {HTMLElement} */ (event.target).closest?.("input, textarea, select, dialog");
  if ((event.key === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !isTyping && !event.ctrlKey)) {
    const field = /** @type {HTMLElement|null} */ (document.querySelector(".searching input"));
    if (!field || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    field.focus();
  }
}

choose();
chooseTheme();
onChange(draw);
onQuestion(changed);
window.addEventListener("hashchange", route);
narrow.addEventListener("change", changed);
document.addEventListener("keydown", keyed);
document.addEventListener("visibilitychange", () => { if (live) reportActive(); draw(); });
// Another tab logged in or out.
window.addEventListener("storage", (event) => {
  if (event.key === "bellwire.login" && !event.newValue !== !event.oldValue) location.reload();
});
keepOffline();
if (api.user) {
  start();
  // Where it fails, the next start tries again.
  renew().catch(() => {});
}
route();
