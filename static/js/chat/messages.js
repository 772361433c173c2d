/** The messages of a chat, page by page. */
import { eventsBetween } from "../model/chat_events.js";
import { waitingIn } from "../model/messages.js";
import { nameOf } from "../model/people.js";
import { me } from "../model/session.js";
import { state } from "../model/state.js";
import { summary } from "../model/summary.js";
import { day } from "../ui/formats.js";
import { Component, html } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { ChatEvent } from "./chat_event.js";
import { Message } from "./message.js";
import { RefusedMessage, UploadingMessage, WaitingMessage } from "./pending.js";

// Pages whose marks of reading are kept up to date; those above keep what they showed.
const FRESH_PAGES = 3;
// Messages of one sender that follow each other so closely are a group.
const GROUP_MS = 5 * 60_000;

export function Messages({ chat, onMenu, onThread }) {
  const timeline = state.timelines.get(chat._id);
  const pages = timeline?.pages ?? [];
  const firstUnread = firstUnreadOf(pages);
  const events = state.chatEvents.get(chat._id) ?? [];
  const last = pages.at(-1)?.at(-1);
  const mine = (all) => all.filter((each) => each.chatId === chat._id);
  const isLoading = !timeline || timeline.before === undefined || timeline.loading;
  return html`
    <div class=${chat.type === "direct" ? "messages" : "messages in-group"} role="log" aria-label=${t("messages")}>
      ${isLoading ? html`<p class="hint">${t("loading")}</p>` : timeline.before === null && html`<p class="hint">${t("begins")}</p>`}
      ${pages.map((items, index) => html`
        <${Page} key=${items[0]._id} items=${items} previous=${pages[index - 1]?.at(-1)}
          events=${eventsOfPage(events, items, pages[index - 1]?.at(-1), timeline.before === null)} chat=${chat} firstUnread=${firstUnread}
          fresh=${index >= pages.length - FRESH_PAGES} names=${state.names} onMenu=${onMenu} onThread=${onThread} />`)}
      <ol>
        ${timeline && timeline.before !== undefined && !timeline.after && eventLines(eventsBetween(events, last?.seq ?? 0, Infinity), dayPills(last))}
        ${waitingIn(chat._id).filter((each) => !each.threadId).map((message) => html`<${WaitingMessage} key=${message.clientMessageId} message=${message} />`)}
        ${mine(state.refused.map(({ message, why }) => ({ ...message, message, why }))).map((each) => html`
          <${RefusedMessage} key=${each.clientMessageId} message=${each.message} why=${each.why} />`)}
        ${mine(state.uploads).map((upload) => html`<${UploadingMessage} key=${upload.key} upload=${upload} />`)}
      </ol>
    </div>`;
}

/** Fifty messages: drawn again only when one of them is another. */
class Page extends Component {
  shouldComponentUpdate(next) {
    const { items, previous, chat, names, firstUnread, events } = this.props;
    const marks = next.fresh && chat.members !== next.chat.members;
    return items !== next.items || !isSame(events, next.events) || previous !== next.previous || names !== next.names || firstUnread !== next.firstUnread || marks;
  }

  render({ items, previous, events, chat, firstUnread, onMenu, onThread }) {
    let before = previous;
    const pill = dayPills(previous);
    return html`
      <ol class="part">
        ${items.map((message) => {
          const isFirstUnread = message._id === firstUnread;
          const happened = eventsBetween(events, before?.seq ?? 0, message.seq);
          const lines = eventLines(happened, pill);
          const newDay = pill(message._id, message.createdAt);
          const isFirst = Boolean(newDay) || happened.length > 0 || isFirstUnread || !isOneGroup(before, message);
          const answered = message.replyTo && this.#found(message.replyTo, chat);
          before = message;
          return html`
            ${lines}
            ${newDay}
            ${isFirstUnread && html`<li class="divider" key=${`unread-${message._id}`}>${t("newMessages")}</li>`}
            <${Message} key=${message._id} message=${message} chat=${chat} isFirst=${isFirst} answered=${answered} onMenu=${onMenu} onThread=${onThread} />`;
        })}
      </ol>`;
  }

  #found(id, chat) {
    for (const page of state.timelines.get(chat._id)?.pages ?? []) {
      const message = page.find((each) => each._id === id);
      if (message) return { id, name: nameOf(message.senderId), text: message.deletedAt ? t("deleted") : summary(message) };
    }
    return { id, name: "", text: "…" };
  }
}

/** Makes the mark of a day where one begins, after what came `before`. */
function dayPills(before) {
  let shown = before && day(before.createdAt);
  return (key, at) => {
    if (day(at) === shown) return null;
    shown = day(at);
    return html`<li class="day" key=${`day-${key}`}>${shown}</li>`;
  };
}

const eventLines = (events, pill) => events.map((event) => html`
  ${pill(event.seq, event.createdAt)}<${ChatEvent} key=${`event-${event.seq}`} event=${event} />`);

/** What happened before the messages of a page, and between them. Before the first page only where the chat begins with it. */
function eventsOfPage(events, items, previous, isBeginning) {
  const after = previous?.seq ?? (isBeginning ? 0 : items[0].seq);
  return eventsBetween(events, after, items.at(-1).seq);
}

const isSame = (some, others) => some.length === others.length && some.every((each, index) => each === others[index]);

/** The id of the first message of another user that was unread when the chat was opened. */
function firstUnreadOf(pages) {
  const { unreadAfter } = state;
  if (unreadAfter === null) return undefined;
  for (const page of pages) {
    if (page.at(-1).seq <= unreadAfter) continue;
    const found = page.find((each) => each.seq > unreadAfter && each.senderId !== me());
    if (found) return found._id;
  }
  return undefined;
}

const isOneGroup = (before, message) =>
  before.senderId === message.senderId && Date.parse(message.createdAt) - Date.parse(before.createdAt) < GROUP_MS;
