/** One message: what it says, what it carries, whether it was sent and read, and what can be done with it. */
import { nameOf } from "../model/people.js";
import { react } from "../model/reactions.js";
import { readers } from "../model/receipts.js";
import { me } from "../model/session.js";
import { attempt, state } from "../model/state.js";
import { transfer } from "../model/summary.js";
import { clock, moment, number } from "../ui/formats.js";
import { html } from "../ui/html.js";
import { icon } from "../ui/icons.js";
import { isJumbo, markdown } from "../ui/markdown.js";
import { t } from "../ui/texts.js";
import { Avatar, hueOf } from "./avatar.js";
import { Attachment } from "./media.js";

/** `isFirst`: of a group of messages of one sender. */
export function Message({ message, chat, isFirst = true, answered, onMenu, onThread, inThread, shown }) {
  const mine = message.senderId === me();
  const deleted = Boolean(message.deletedAt);
  const classes = [
    "message", mine && "mine", isFirst && "first", deleted && "deleted", shown && "shown", !mine && !deleted && isForMe(message) && "mentioned",
  ].filter(Boolean).join(" ");
  const sender = chat.type === "direct" ? nameOf(message.senderId) : "";
  const isShared = !mine && chat.type !== "direct";
  return html`
    <li class=${classes} id=${inThread || !onMenu ? undefined : `m-${message._id}`} data-seq=${inThread ? undefined : message.seq}>
      ${isShared && isFirst && html`<${Avatar} id=${message.senderId} name=${nameOf(message.senderId)} url=${state.people.get(message.senderId)?.avatarUrl} size="small" />`}
      ${isShared && isFirst && html`<b class=${`sender ${hueOf(message.senderId)}`}><bdi>${nameOf(message.senderId)}</bdi></b>`}
      ${(!isShared || !isFirst) && html`<span class="unseen">${sender || nameOf(message.senderId)}:</span>`}
      ${message.forwarded && html`<p class="forwarded">${icon("forward")} ${t("forwarded")}</p>`}
      ${answered && html`
        <a class="quoted" dir="auto" href=${`#/chat/${chat._id}/${answered.id}`}><b><bdi>${answered.name}</bdi></b> ${answered.text}</a>`}
      ${deleted ? html`<p class="content">${t("deleted")}</p>` : html`<${Content} message=${message} />`}
      ${message.reactions?.length > 0 && html`<${Reactions} message=${message} />`}
      ${onThread && message.thread?.replyCount > 0 && html`
        <button type="button" class="replies" onClick=${() => onThread(message)}>${icon("thread")} ${t("replies", { count: message.thread.replyCount })}</button>`}
      <footer>
        ${!deleted && message.updatedAt !== message.createdAt && html`<span>${t("edited")}</span>`}
        <time datetime=${message.createdAt} title=${moment(message.createdAt)}>${clock(message.createdAt)}</time>
        ${mine && !deleted && html`<${Mark} chat=${chat} message=${message} />`}
      </footer>
      ${!deleted && onMenu && html`
        <button type="button" class="plain open-menu" aria-label=${`${t("more")}: ${nameOf(message.senderId)}, ${clock(message.createdAt)}`} title=${t("more")}
          aria-haspopup="menu" onClick=${(event) => onMenu({ message, anchor: event.currentTarget, opened: performance.now() })}>${icon("more")}</button>`}
    </li>`;
}

const isForMe = (message) => Boolean(message.mentionAll) || Boolean(message.mentions?.includes(me()));

function Content({ message }) {
  if (message.type === "creditTransfer") return html`<p class="content credits">${icon("credits")} <bdi>${transfer(message)}</bdi></p>`;
  const mentions = [
    ...(message.mentions ?? []).map((id) => ({ name: id === me() ? state.people.get(id)?.name ?? "" : nameOf(id), isMe: id === me() })),
    ...(message.mentionAll ? [{ name: "all", isMe: true }] : []),
  ].filter(({ name }) => name);
  return html`
    ${message.media && html`<${Attachment} media=${message.media} metadata=${message.metadata} />`}
    ${message.content && html`<div class=${isJumbo(message.content) ? "content jumbo" : "content"} dir="auto">${markdown(message.content, mentions)}</div>`}`;
}

/** How many reacted with each. Pressing one adds the user's own, or removes it. */
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
  return html`<span class=${count ? "mark read" : "mark"} role="img" aria-label=${text} title=${text}>${icon(count ? "check-check" : "check")}</span>`;
}
