/** The list of chats, and finding people for a new one. */
import { chatWith, moreChats, newGroup } from "../model/chats.js";
import { nameOf, otherOf, titleOf } from "../model/people.js";
import { isMine } from "../model/rooms.js";
import { me } from "../model/session.js";
import { attempt, once, state } from "../model/state.js";
import { Avatar } from "../ui/avatar.js";
import { clock, number } from "../ui/formats.js";
import { html, useState } from "../ui/html.js";
import { iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { NewGroup } from "./new_group.js";
import { SearchBox } from "./search.js";
import { summary } from "./summary.js";

export function Chats() {
  const [searching, setSearching] = useState(false);
  const [grouping, setGrouping] = useState(false);
  const chats = [...state.chats.values()].filter(isMine).sort((one, other) => at(other).localeCompare(at(one)));

  const open = async (work) => {
    const id = await attempt(work);
    if (!id) return;
    setGrouping(false);
    location.hash = `#/chat/${id}`;
  };

  return html`
    <header><h2>${t("chats")}</h2>${iconButton("group", t("newGroup"), () => setGrouping(true))}</header>
    <${SearchBox} onFound=${setSearching} onPerson=${(user) => open(() => chatWith(user.id))} />
    ${!chats.length && !searching && html`<p class="hint">${t("noChats")}</p>`}
    <ul class="chats" aria-label=${t("chats")} hidden=${searching}>
      ${chats.map((chat) => html`<${Entry} key=${chat._id} chat=${chat} />`)}
      ${state.moreChats && html`<li><button type="button" class="plain" onClick=${() => once("chats", moreChats)}>${t("loadMore")}</button></li>`}
    </ul>
    ${grouping && html`<${NewGroup} onClose=${() => setGrouping(false)} onCreate=${(name, ids) => open(() => newGroup(name, ids))} />`}`;
}

const at = (chat) => chat.lastMessage?.createdAt ?? chat.createdAt;

function Entry({ chat }) {
  const other = otherOf(chat);
  const title = titleOf(chat);
  return html`
    <li>
      <a class="row" href=${`#/chat/${chat._id}`} aria-current=${chat._id === state.open ? "true" : null}>
        <${Avatar} name=${title} online=${other && state.people.get(other.userId)?.online} />
        <span class="about">
          <bdi class="title">${title}</bdi>
          <span class="preview" dir="auto">${preview(chat)}</span>
        </span>
        <span class="aside">
          <time datetime=${at(chat)}>${clock(at(chat))}</time>
          ${chat.unreadCount > 0 && html`
            <b class=${chat.mutedUntil ? "badge quiet" : "badge"} aria-label=${t("unread", { count: chat.unreadCount })}>${number(chat.unreadCount)}</b>`}
        </span>
      </a>
    </li>`;
}

function preview({ lastMessage: message, type }) {
  if (!message) return "";
  if (message.deletedAt) return t("deleted");
  const text = summary(message);
  const named = message.senderId === me() || type !== "direct";
  return named ? html`<bdi>${nameOf(message.senderId)}</bdi>: <bdi>${text}</bdi>` : text;
}
