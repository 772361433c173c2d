/** The menu of a message. */
import { remove, report } from "../model/messages.js";
import { nameOf } from "../model/people.js";
import { isPinned, pin, unpin } from "../model/pins.js";
import { react } from "../model/reactions.js";
import { mayAct, moderates, roleIn, whySilent } from "../model/roles.js";
import { me } from "../model/session.js";
import { attempt } from "../model/state.js";
import { ask } from "../ui/ask.js";
import { Component, html } from "../ui/html.js";
import { icon } from "../ui/icons.js";
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";

const OFFERED = ["👍", "❤️", "😂", "😮", "😢", "🙏"];

/** What can be done with a message, beside its button; closed by Escape and by pressing elsewhere. */
export class Menu extends Component {
  componentDidMount() {
    const { anchor } = this.props;
    const { top, bottom, left, right } = anchor.getBoundingClientRect();
    this.base.showPopover();
    const { offsetHeight: height, offsetWidth: width } = this.base;
    this.base.style.top = `${Math.max(4, bottom + height < innerHeight ? bottom : top - height)}px`;
    this.base.style.left = `${left + width < innerWidth ? left : Math.max(4, right - width)}px`;
    this.base.querySelector("button").focus();
  }

  /** The arrows move through the menu. */
  keyed(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const buttons = [...this.base.querySelectorAll("button")];
    buttons.at((buttons.indexOf(document.activeElement) + step) % buttons.length).focus();
  }

  render({ message, chat, onEdit, onReply, onThread, onForward, onSanction, onClose }) {
    const mine = message.senderId === me();
    const role = roleIn(chat);
    const author = message.senderId;
    const moved = message.type === "creditTransfer";
    const writes = !whySilent(chat);
    const erase = async () => {
      if (await ask({ title: t("deleteSure"), action: t("delete"), danger: true })) attempt(() => remove(message._id));
    };
    const complain = async () => {
      const answer = await ask({ title: t("report"), input: t("reportWhy"), action: t("report"), danger: true });
      if (answer) attempt(async () => { await report(message._id, answer.text); say(t("reported")); });
    };
    const copy = (text) => attempt(async () => { await navigator.clipboard.writeText(text); say(t("copied")); });
    const closed = (event) => { if (event.newState === "closed") onClose(); };
    const entry = (shown, name, text, work, risky = false, values = {}) => shown && html`
      <button type="button" role="menuitem" class=${risky ? "risky" : ""} onClick=${() => { this.base.hidePopover(); work(); }}>${icon(name)}${t(text, values)}</button>`;
    return html`
      <div class="menu" role="menu" popover="auto" aria-label=${t("more")} onToggle=${closed} onKeyDown=${(event) => this.keyed(event)}>
        ${(writes || (chat.reactions === "all" && role === "readonly")) && chat.reactions !== "none" && html`
          <div class="offered" role="group" aria-label=${t("react")}>
            ${OFFERED.map((key) => html`
              <button type="button" role="menuitem" key=${key} aria-label=${t("reactWith", { key })}
                onClick=${() => { this.base.hidePopover(); attempt(() => react(message, key)); }}>${key}</button>`)}
          </div>`}
        ${entry(writes, "reply", "reply", () => onReply(message))}
        ${entry(writes && !message.threadId, "thread", "replyInThread", () => onThread(message))}
        ${entry(!moved, "forward", "forward", () => onForward(message))}
        ${entry((chat.type === "direct" || moderates(chat)) && !message.threadId, isPinned(message) ? "unpin" : "pin", isPinned(message) ? "unpin" : "pin",
          () => attempt(() => (isPinned(message) ? unpin(message) : pin(message))))}
        ${entry(Boolean(message.content && navigator.clipboard), "copy", "copyText", () => copy(message.content))}
        ${entry(Boolean(navigator.clipboard), "link", "copyLink", () => copy(`${location.origin}/#/chat/${chat._id}/${message._id}`))}
        ${entry(mine && writes && !moved, "edit", "edit", () => onEdit(message))}
        ${entry(!mine, "flag", "report", complain)}
        ${entry(mayAct(chat, author), "bell-off", "silenceName", () => onSanction({ userId: author, kind: "silence" }), true, { name: nameOf(author) })}
        ${entry(mayAct(chat, author), "ban", "banName", () => onSanction({ userId: author, kind: "ban" }), true, { name: nameOf(author) })}
        ${entry(((mine && writes) || moderates(chat)) && !moved, "delete", "delete", erase, true)}
      </div>`;
  }
}
