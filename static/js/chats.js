/** The list of chats, and finding people for a new one. */
import { isMine } from "./room.js";
import { SearchBox } from "./search.js";
import { summary } from "./summary.js";
import { chatWith, find, me, moreChats, nameOf, newGroup, once, otherOf, state, titleOf, trying } from "./store.js";
import { t } from "./texts.js";
import { Avatar, clock, Dialog, html, iconButton, number, useState } from "./view.js";

export function Chats() {
  const [searching, setSearching] = useState(false);
  const [grouping, setGrouping] = useState(false);
  const chats = [...state.chats.values()].filter(isMine).sort((one, other) => at(other).localeCompare(at(one)));

  const open = async (work) => {
    const id = await trying(work);
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

/** A field to find people with. `onFound` is given users, or null when the field is empty. */
export function Find({ onFound }) {
  const search = async (event) => {
    event.preventDefault();
    const query = String(new FormData(event.currentTarget).get("query")).trim();
    onFound(query ? (await trying(() => find(query))) ?? null : null);
  };
  return html`
    <form class="find" role="search" onSubmit=${search}>
      <input name="query" type="search" placeholder=${t("findPeople")} aria-label=${t("findPeople")} autocomplete="off"
        onInput=${(event) => event.target.value || onFound(null)} />
    </form>`;
}

function NewGroup({ onClose, onCreate }) {
  const [found, setFound] = useState(null);
  const [members, setMembers] = useState([]);
  const toggle = (user) => setMembers(members.some(({ id }) => id === user.id) ? members.filter(({ id }) => id !== user.id) : [...members, user]);
  const create = (event) => {
    event.preventDefault();
    onCreate(new FormData(event.target).get("name"), members.map(({ id }) => id));
  };
  const shown = [...members, ...(found ?? []).filter((user) => !members.some(({ id }) => id === user.id))];
  return html`
    <${Dialog} title=${t("newGroup")} onClose=${onClose}>
      <${Find} onFound=${setFound} />
      <ul class="found">
        ${shown.map((user) => html`
          <li key=${user.id}><label class="row">
            <input type="checkbox" checked=${members.some(({ id }) => id === user.id)} onChange=${() => toggle(user)} />
            <bdi>${user.name}</bdi></label></li>`)}
      </ul>
      <form onSubmit=${create}>
        <label>${t("groupName")}<input name="name" maxlength="255" required /></label>
        <button disabled=${!members.length}>${t("create")}</button>
      </form>
    <//>`;
}
