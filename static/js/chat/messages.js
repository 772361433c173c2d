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
  const lastSeq = pages.at(-1)?.at(-1).seq ?? 0;
  const mine = (all) => all.filter((each) => each.chatId === chat._id);
  const isLoading = !timeline || timeline.before === undefined || timeline.loading;
  return html`
    <div class=${chat.type === "direct" ? "messages" : "messages in-group"} role="log" aria-label=${t("messages")}>
      ${isLoading ? html`<p class="hint">${t("loading")}</p>` : timeline.before === null && html`<p class="hint">${t("begins")}</p>`}
      ${pages.map((items, index) => html`
        <${Page} key=${items[0]._id} items=${items} previous=${pages[index - 1]?.at(-1)} events=${events}
          isBeginning=${index === 0 && timeline.before === null} chat=${chat} firstUnread=${firstUnread}
          fresh=${index >= pages.length - FRESH_PAGES} names=${state.names} onMenu=${onMenu} onThread=${onThread} />`)}
      <ol>
        ${!isLoading && !timeline.after && eventsBetween(events, lastSeq, Infinity).map((event) => html`<${ChatEvent} key=${`event-${event.seq}`} event=${event} />`)}
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
    const { items, previous, chat, names, firstUnread, events, isBeginning } = this.props;
    const marks = next.fresh && chat.members !== next.chat.members;
    return items !== next.items || events !== next.events || isBeginning !== next.isBeginning || previous !== next.previous || names !== next.names || firstUnread !== next.firstUnread || marks;
  }

  render({ items, previous, events, isBeginning, chat, firstUnread, onMenu, onThread }) {
    let before = previous;
    let shownDay = previous && day(previous.createdAt);
    const isNewDay = (at) => { const isNew = day(at) !== shownDay; shownDay = day(at); return isNew; };
    const pill = (key, at) => html`<li class="day" key=${`day-${key}`}>${day(at)}</li>`;
    return html`
      <ol class="part">
        ${items.map((message) => {
          const isFirstUnread = message._id === firstUnread;
          const happened = before || isBeginning ? eventsBetween(events, before?.seq ?? 0, message.seq) : [];
          const lines = happened.map((event) => html`
            ${isNewDay(event.createdAt) && pill(event.seq, event.createdAt)}<${ChatEvent} key=${`event-${event.seq}`} event=${event} />`);
          const beginsDay = isNewDay(message.createdAt);
          const isFirst = beginsDay || happened.length > 0 || isFirstUnread || !isOneGroup(before, message);
          const answered = message.replyTo && this.#found(message.replyTo, chat);
          before = message;
          return html`
            ${lines}
            ${beginsDay && pill(message._id, message.createdAt)}
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
