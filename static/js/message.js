/** One message: what it says, what it carries, whether it was sent and read, and what can be done with it. */
import { transfer } from "./summary.js";
import { Attachment } from "./media.js";
import { mayAct, moderates, roleIn } from "./moderation.js";
import { say } from "./notice.js";
import { readers } from "./receipts.js";
import { whySilent } from "./room.js";
import { discard, me, nameOf, react, remove, report, sendAgain, trying } from "./store.js";
import { t } from "./texts.js";
import { clock, Component, html, icon, moment, number } from "./view.js";

const OFFERED = ["👍", "❤️", "😂", "😮", "😢", "🙏"];

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
            title=${userIds.map(nameOf).join(", ")} onClick=${() => trying(() => react(message, key))}>
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

/** What can be done with a message, over the page and beside its button; closed by Escape and by pressing elsewhere. */
export class Menu extends Component {
  componentDidMount() {
    const { anchor } = this.props;
    const { top, bottom, left, right } = anchor.getBoundingClientRect();
    this.base.showPopover();
    const { offsetHeight: height, offsetWidth: width } = this.base;
    this.base.style.top = `${bottom + height < innerHeight ? bottom : top - height}px`;
    this.base.style.left = `${left + width < innerWidth ? left : right - width}px`;
    this.base.querySelector("button").focus();
  }

  render({ message, chat, onEdit, onReply, onThread, onSanction, onClose }) {
    const mine = message.senderId === me();
    const role = roleIn(chat);
    const author = message.senderId;
    const moved = message.type === "creditTransfer";
    const writes = !whySilent(chat);
    const erase = () => confirm(t("deleteSure")) && trying(() => remove(message._id));
    const complain = () => {
      const reason = prompt(t("reportWhy"));
      if (reason) trying(async () => { await report(message._id, reason); say(t("reported")); });
    };
    const closed = (event) => { if (event.newState === "closed") onClose(); };
    const entry = (shown, text, work) => shown && html`
      <button type="button" onClick=${() => { this.base.hidePopover(); work(); }}>${t(text)}</button>`;
    return html`
      <div class="menu" role="group" popover="auto" aria-label=${t("more")} onToggle=${closed}>
        ${(writes || (chat.reactions === "all" && role === "readonly")) && chat.reactions !== "none" && html`
          <div class="offered" role="group" aria-label=${t("react")}>
            ${OFFERED.map((key) => html`
              <button type="button" key=${key} aria-label=${t("reactWith", { key })}
                onClick=${() => { this.base.hidePopover(); trying(() => react(message, key)); }}>${key}</button>`)}
          </div>`}
        ${entry(writes, "reply", () => onReply(message))}
        ${entry(writes && !message.threadId, "replyInThread", () => onThread(message))}
        ${entry(mine && writes && !moved, "edit", () => onEdit(message))}
        ${entry(((mine && writes) || moderates(chat)) && !moved, "delete", erase)}
        ${entry(mayAct(chat, author), "silence", () => onSanction({ userId: author, kind: "silence" }))}
        ${entry(mayAct(chat, author), "ban", () => onSanction({ userId: author, kind: "ban" }))}
        ${entry(!mine, "report", complain)}
      </div>`;
  }
}

const draft = (message) =>
  (message.type === "creditTransfer" ? `${t("sendCredits")}: ${number(message.creditTransfer.amount)}` : message.content ?? t("file"));

/** One that is not acknowledged yet. */
export function Waiting({ message }) {
  return html`
    <li class="message mine waiting">
      <p class="content" dir="auto">${draft(message)}</p>
      <footer><span role="img" aria-label=${t("waiting")} title=${t("waiting")}>…</span></footer>
    </li>`;
}

export function Refused({ message, why }) {
  return html`
    <li class="message mine refused">
      <p class="content" dir="auto">${draft(message)}</p>
      <footer role="alert">${t("notSent", { why })}</footer>
      <footer>
        <button type="button" onClick=${() => sendAgain(message)}>${t("retry")}</button>
        <button type="button" onClick=${() => discard(message)}>${t("discard")}</button>
      </footer>
    </li>`;
}

export function Upload({ upload }) {
  const percent = Math.round(upload.part * 100);
  return html`
    <li class="message mine waiting">
      <p class="content"><bdi>${t("uploading", { name: upload.name, percent })}</bdi></p>
      <progress max="1" value=${upload.part} aria-label=${upload.name}></progress>
      <footer><button type="button" onClick=${() => upload.cancel.abort()}>${t("cancel")}</button></footer>
    </li>`;
}
