/** The messages of a chat, page by page. */
import { waitingIn } from "../model/messages.js";
import { nameOf } from "../model/people.js";
import { me } from "../model/session.js";
import { state } from "../model/state.js";
import { day } from "../ui/formats.js";
import { Component, html } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { Message } from "./message.js";
import { RefusedMessage, UploadingMessage, WaitingMessage } from "./pending.js";
import { summary } from "./summary.js";

// Pages whose marks of reading are kept up to date; those above keep what they showed.
const FRESH_PAGES = 3;

export function Messages({ chat, onMenu, onThread }) {
  const timeline = state.timelines.get(chat._id);
  const pages = timeline?.pages ?? [];
  const mine = (all) => all.filter((each) => each.chatId === chat._id);
  return html`
    <div class="messages" role="log" aria-label=${t("messages")}>
      ${!timeline || timeline.before === undefined || timeline.loading ? html`<p class="hint">${t("loading")}</p>` : timeline.before === null && html`<p class="hint">${t("begins")}</p>`}
      ${pages.map((items, index) => html`
        <${Page} key=${items[0]._id} items=${items} before=${pages[index - 1]?.at(-1).createdAt} chat=${chat}
          fresh=${index >= pages.length - FRESH_PAGES} names=${state.names} onMenu=${onMenu} onThread=${onThread} />`)}
      <ol>
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
    const { items, before, chat, names } = this.props;
    const marks = next.fresh && chat.members !== next.chat.members;
    return items !== next.items || before !== next.before || names !== next.names || marks;
  }

  render({ items, before, chat, onMenu, onThread }) {
    let last = before && day(before);
    return html`
      <ol class="part">
        ${items.map((message) => {
          const today = day(message.createdAt);
          const turn = today !== last;
          last = today;
          const answered = message.replyTo && this.#found(message.replyTo, chat);
          return html`
            ${turn && html`<li class="day" key=${`day-${message._id}`}>${today}</li>`}
            <${Message} key=${message._id} message=${message} chat=${chat} answered=${answered} onMenu=${onMenu} onThread=${onThread} />`;
        })}
      </ol>`;
  }

  #found(id, chat) {
    for (const page of state.timelines.get(chat._id)?.pages ?? []) {
      const message = page.find((each) => each._id === id);
      if (message) return { name: nameOf(message.senderId), text: message.deletedAt ? t("deleted") : summary(message), mine: message.senderId === me() };
    }
    return { name: "", text: "…" };
  }
}
