/** Search over people, chats and messages, with results while the user types. */
import { introduceChats } from "../model/chats.js";
import { find, introduce, nameOf, titleOf } from "../model/people.js";
import { api, live } from "../model/session.js";
import { attempt, state } from "../model/state.js";
import { summary } from "../model/summary.js";
import { fold } from "../ui/fold.js";
import { moment } from "../ui/formats.js";
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { Avatar } from "./avatar.js";

// Milliseconds after the last key until the search begins.
const TYPED_MS = 250;
const SHORTEST = 2;
const MESSAGES = 20;
const CHATS = 5;
// Code points of a message before the first match and in all.
const BEFORE = 24;
const SHOWN = 120;

const NO_PAGE = { items: [], nextCursor: null, complete: true };

/**
 * What a query finds, in parts: where one of them fails, the others are shown. One that is too short for messages finds people
 * and chats alone.
 */
async function search(query) {
  const long = [...query].filter((each) => /[\p{L}\p{N}\p{S}]/u.test(each)).length >= SHORTEST;
  const [people, messages] = await Promise.allSettled([find(query), long ? searchMessages(query) : NO_PAGE]);
  const failed = [people, messages].find((each) => each.status === "rejected");
  if (failed) attempt(() => { throw /** @type {PromiseRejectedResult} */ (failed).reason; });
  const page = messages.status === "fulfilled" ? messages.value : NO_PAGE;
  return {
    people: people.status === "fulfilled" ? people.value : [], chats: titled(query),
    messages: page.items, cursor: page.nextCursor, complete: page.complete,
  };
}

async function searchMessages(query, cursor) {
  const more = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
  const page = await api.get(`/api/v2/messages/search?query=${encodeURIComponent(query)}&limit=${MESSAGES}${more}`);
  attempt(() => introduce(page.items.map((hit) => hit.message)));
  attempt(() => introduceChats(page.items.map((hit) => hit.message.chatId)));
  return page;
}

const titled = (query) =>
  [...state.chats.values()].filter((chat) => chat.type !== "direct" && fold(titleOf(chat)).includes(fold(query))).slice(0, CHATS);

/** A field, and below it what was found. `onPerson` gets the user that is picked; `onFound` whether results are shown. */
export function SearchBox({ onPerson, onFound }) {
  const [query, setQuery] = useState("");
  const [found, setFound] = useState(null);
  const asked = useRef("");

  const look = async (wanted) => {
    asked.current = wanted;
    const answer = wanted ? await search(wanted) : null;
    // What was typed meanwhile has its own answer.
    if (asked.current !== wanted) return;
    setFound(answer);
    onFound(answer !== null);
  };
  useEffect(() => {
    const wanted = query.trim();
    if (wanted === asked.current) return undefined;
    const timer = setTimeout(() => look(wanted), wanted ? TYPED_MS : 0);
    return () => clearTimeout(timer);
  }, [query]);

  const submit = (event) => { event.preventDefault(); look(query.trim()); };
  const more = () => attempt(async () => {
    const wanted = asked.current;
    const { items, nextCursor, complete } = await searchMessages(wanted, found.cursor);
    if (asked.current !== wanted) return;
    setFound((now) => ({ ...now, messages: [...now.messages, ...items], cursor: nextCursor, complete }));
  });
  // What is deleted is not shown any more.
  useEffect(() => live.on("message:deleted", ({ _id }) => setFound((now) =>
    now && { ...now, messages: now.messages.filter((hit) => hit.message._id !== _id) })), []);
  const count = found && found.people.length + found.chats.length + found.messages.length;
  const pick = (user) => { setQuery(""); onPerson(user); };
  return html`
    <form class="find searching" role="search" onSubmit=${submit}>
      <input name="query" type="search" placeholder=${t("searchAll")} aria-label=${t("searchAll")} autocomplete="off" maxlength="256"
        value=${query} onInput=${(event) => setQuery(event.target.value)}
        onKeyDown=${(event) => event.key === "Escape" && setQuery("")} />
    </form>
    <p class="unseen" role="status">${found ? t(found.cursor ? "foundMore" : "foundCount", { count }) : ""}</p>
    ${found && html`<${Results} found=${found} onPick=${pick} onMore=${more} />`}`;
}

function Results({ found, onPick, onMore }) {
  const { people, chats, messages, cursor, complete } = found;
  return html`
    <div class="results" role="region" aria-label=${t("searchResults")}>
      ${people.length > 0 && html`
        <h3>${t("people")}</h3>
        <ul class="found">${people.map((user) => html`
          <li key=${user.id}><button type="button" class="row" onClick=${() => onPick(user)}>
            <${Avatar} id=${user.id} name=${user.name} url=${user.avatarUrl} /><bdi>${user.name}</bdi></button></li>`)}</ul>`}
      ${chats.length > 0 && html`
        <h3>${t("chats")}</h3>
        <ul class="found">${chats.map((chat) => html`
          <li key=${chat._id}><a class="row" href=${`#/chat/${chat._id}`}><${Avatar} name=${titleOf(chat)} /><bdi>${titleOf(chat)}</bdi></a></li>`)}</ul>`}
      ${messages.length > 0 && html`
        <h3>${t("messages")}</h3>
        <ul class="hits">${messages.map((hit) => html`<${Hit} key=${hit.message._id} hit=${hit} />`)}</ul>`}
      ${cursor && html`<button type="button" class="plain" onClick=${onMore}>${t("loadMore")}</button>`}
      ${!cursor && !complete && html`<p class="hint">${t("searchIncomplete")}</p>`}
      ${!people.length && !chats.length && !messages.length && !cursor && html`<p class="hint">${t("nothingFound")}</p>`}
    </div>`;
}

function Hit({ hit: { message, matches } }) {
  const chat = state.chats.get(message.chatId);
  return html`
    <li><a class="row" href=${`#/chat/${message.chatId}/${message._id}`}>
      <span class="about">
        <span class="aside-line"><bdi class="title">${chat ? titleOf(chat) : t("chat")}</bdi>
          <time class="hint" datetime=${message.createdAt}>${moment(message.createdAt)}</time></span>
        <span class="preview snippet" dir="auto"><bdi>${nameOf(message.senderId)}</bdi>: ${marked(message, matches)}</span>
      </span></a></li>`;
}

// Without the marks of Markdown, which stand between words.
const plain = (points) => points.join("").replaceAll(/\*\*|~~|`+/g, "");

/** A part of the message around its first match, the matches marked; they are counted in code points. */
function marked(message, matches) {
  const points = [...(message.content ?? summary(message))];
  const begin = Math.max(0, (matches[0]?.[0] ?? 0) - BEFORE);
  const parts = [];
  let at = begin;
  for (const [offset, length] of matches) {
    if (offset >= begin + SHOWN) break;
    parts.push(plain(points.slice(at, offset)), html`<mark>${points.slice(offset, offset + length).join("")}</mark>`);
    at = offset + length;
  }
  parts.push(plain(points.slice(at, begin + SHOWN)));
  return html`${begin > 0 && "…"}${parts}${points.length > begin + SHOWN && "…"}`;
}
