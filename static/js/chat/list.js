/** The list of chats. */
import { chatWith, moreChats, newGroup } from "../model/chats.js";
import { draftOf } from "../model/drafts.js";
import { nameOf, otherOf, titleOf } from "../model/people.js";
import { isMine } from "../model/rooms.js";
import { me } from "../model/session.js";
import { attempt, once, state } from "../model/state.js";
import { summary } from "../model/summary.js";
import { moment, number, when } from "../ui/formats.js";
import { html, useState } from "../ui/html.js";
import { icon, iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { Avatar } from "./avatar.js";
import { NewGroup } from "./new_group.js";
import { SearchBox } from "./search.js";

const FILTERS = {
  allChats: () => true,
  unreadChats: (chat) => chat.unreadCount > 0,
  directChats: (chat) => chat.type === "direct",
  groupChats: (chat) => chat.type !== "direct",
};
// With fewer chats there is nothing to filter.
const FILTERED_FROM = 8;

export function Chats() {
  const [searching, setSearching] = useState(false);
  const [grouping, setGrouping] = useState(false);
  const [filter, setFilter] = useState("allChats");
  const all = [...state.chats.values()].filter(isMine);
  const chats = all.filter((chat) => FILTERS[filter](chat) || chat._id === state.open).sort((one, other) => at(other).localeCompare(at(one)));

  // Where the Tab key stops in the list.
  const stop = chats.find((chat) => chat._id === state.open) ?? chats[0];

  const open = async (work) => {
    const id = await attempt(work);
    if (!id) return;
    setGrouping(false);
    location.hash = `#/chat/${id}`;
  };

  return html`
    <header><h2>${t("chats")}</h2>${iconButton("user-plus", t("newGroup"), () => setGrouping(true))}</header>
    <${SearchBox} onFound=${setSearching} onPerson=${(user) => open(() => chatWith(user.id))} />
    ${all.length >= FILTERED_FROM && !searching && html`
      <div class="filters" role="group" aria-label=${t("filter")}>
        ${Object.keys(FILTERS).map((each) => html`
          <button type="button" aria-pressed=${String(filter === each)} onClick=${() => setFilter(each)}>${t(each)}</button>`)}
      </div>`}
    ${!all.length && !searching && state.connection === "online" && html`
      <div class="empty">${icon("chats")}<h2>${t("noChats")}</h2><p>${t("noChatsHint")}</p>
        <button type="button" onClick=${() => /** @type {HTMLElement} */ (document.querySelector(".searching input")).focus()}>${t("startChat")}</button>
        <button type="button" class="quiet" onClick=${() => setGrouping(true)}>${t("newGroup")}</button></div>`}
    <ul class="chats" aria-label=${t("chats")} hidden=${searching} onKeyDown=${keyed}>
      ${chats.map((chat) => html`<${Entry} key=${chat._id} chat=${chat} isStop=${chat === stop} />`)}
      ${state.moreChats && html`<li><button type="button" class="plain" onClick=${() => once("chats", moreChats)}>${t("loadMore")}</button></li>`}
    </ul>
    ${all.length > 0 && !chats.length && html`<p class="hint">${t("nothingFound")}</p>`}
    ${grouping && html`<${NewGroup} onClose=${() => setGrouping(false)} onCreate=${(name, ids) => open(() => newGroup(name, ids))} />`}`;
}

/** The arrows move through the list, which is one stop of the Tab key. */
function keyed(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const entries = [...event.currentTarget.querySelectorAll("a")];
  entries[Math.min(Math.max(entries.indexOf(document.activeElement) + step, 0), entries.length - 1)].focus();
}

const at = (chat) => chat.lastMessage?.createdAt ?? chat.createdAt;

function Entry({ chat, isStop }) {
  const other = otherOf(chat);
  const facts = other && state.people.get(other.userId);
  const title = titleOf(chat);
  const isOpen = chat._id === state.open;
  return html`
    <li class=${chat.unreadCount > 0 ? "unread" : ""}>
      <a class="row" href=${`#/chat/${chat._id}`} aria-current=${isOpen ? "true" : null} tabindex=${isStop ? 0 : -1}>
        <${Avatar} id=${other?.userId ?? chat._id} name=${title} url=${facts?.avatarUrl} online=${facts?.online} />
        <span class="about">
          <span class="title"><bdi>${title}</bdi>${chat.mutedUntil && icon("bell-off")}</span>
          <span class="preview" dir="auto"><${Preview} chat=${chat} /></span>
        </span>
        <span class="aside">
          <time datetime=${at(chat)} title=${moment(at(chat))}>${when(at(chat))}</time>
          ${chat.unreadCount > 0 && html`
            <b class=${chat.mutedUntil ? "badge quiet" : "badge"} aria-label=${t("unread", { count: chat.unreadCount })}>${chat.mentionCount > 0 && "@ "}${number(chat.unreadCount)}</b>`}
        </span>
      </a>
    </li>`;
}

function Preview({ chat: { _id, lastMessage: message, type } }) {
  const who = [...(state.typing.get(_id)?.keys() ?? [])];
  if (who.length) return html`<i>${t("isTyping", { name: nameOf(who[0]) })}</i>`;
  const draft = _id !== state.open && draftOf(_id);
  if (draft) return html`<b class="draft">${t("draft")}</b> ${draft}`;
  if (!message) return "";
  if (message.deletedAt) return t("deleted");
  const named = message.senderId === me() || type !== "direct";
  return named ? html`<bdi>${nameOf(message.senderId)}</bdi>: <bdi>${summary(message)}</bdi>` : summary(message);
}
