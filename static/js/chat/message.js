/** One message: what it says, what it carries, whether it was sent and read, and what can be done with it. */
import { nameOf } from "../model/people.js";
import { react } from "../model/reactions.js";
import { readers } from "../model/receipts.js";
import { me } from "../model/session.js";
import { attempt } from "../model/state.js";
import { clock, moment, number } from "../ui/formats.js";
import { html } from "../ui/html.js";
import { icon } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { Attachment } from "./media.js";
import { transfer } from "./summary.js";

export function Message({ message, chat, answered, onMenu, onThread, inThread, shown }) {
  const mine = message.senderId === me();
  const deleted = Boolean(message.deletedAt);
  const classes = ["message", mine && "mine", deleted && "deleted", shown && "shown"].filter(Boolean).join(" ");
  return html`
    <li class=${classes} id=${inThread || !onMenu ? undefined : `m-${message._id}`}>
      ${!mine && chat.type !== "direct" && html`<b class="sender"><bdi>${nameOf(message.senderId)}</bdi></b>`}
      ${answered && html`<blockquote dir="auto"><b><bdi>${answered.name}</bdi></b> ${answered.text}</blockquote>`}
      ${deleted ? html`<p class="content">${t("deleted")}</p>` : html`<${Content} message=${message} />`}
      ${message.reactions?.length > 0 && html`<${Reactions} message=${message} />`}
      ${onThread && message.thread?.replyCount > 0 && html`
        <button type="button" class="replies" onClick=${() => onThread(message)}>${t("replies", { count: message.thread.replyCount })}</button>`}
      <footer>
        ${message.forwarded && html`<span>${t("forwarded")}</span>`}
        ${!deleted && message.updatedAt !== message.createdAt && html`<span>${t("edited")}</span>`}
        <time datetime=${message.createdAt} title=${moment(message.createdAt)}>${clock(message.createdAt)}</time>
        ${mine && !deleted && html`<${Mark} chat=${chat} message=${message} />`}
      </footer>
      ${!deleted && onMenu && html`
        <button type="button" class="plain open-menu" aria-label=${t("more")} title=${t("more")}
          onClick=${(event) => onMenu({ message, anchor: event.currentTarget, opened: performance.now() })}>${icon("more")}</button>`}
    </li>`;
}

function Content({ message }) {
  if (message.type === "creditTransfer") return html`<p class="content credits">${icon("credits")} <bdi>${transfer(message)}</bdi></p>`;
  return html`
    ${message.media && html`<${Attachment} media=${message.media} />`}
    ${message.content && html`<p class="content" dir="auto">${message.content}</p>`}`;
}

/** How many reacted with each; pressing one adds one's own, or takes it back. */
function Reactions({ message }) {
  return html`
    <ul class="reactions" aria-label=${t("reactions")}>
      ${message.reactions.map(({ key, count, userIds }) => html`
        <li key=${key}>
          <button type="button" aria-pressed=${String(message.mine?.includes(key) ?? false)}
            title=${userIds.map(nameOf).join(", ")} onClick=${() => attempt(() => react(message, key))}>
            <span>${key}</span> ${number(count)}
          </button>
        </li>`)}
    </ul>`;
}

/** One tick when it is stored, two when another member has read it. */
function Mark({ chat, message }) {
  const count = readers(chat, message);
  const text = count === 0 ? t("sentMark") : chat.type === "direct" ? t("readByOther") : t("readMark", { count: number(count) });
  return html`<span class=${count ? "mark read" : "mark"} role="img" aria-label=${text} title=${text}>${count ? "✓✓" : "✓"}</span>`;
}
