/** The menu of a message. */
import { remove, report } from "../model/messages.js";
import { react } from "../model/reactions.js";
import { mayAct, moderates, roleIn, whySilent } from "../model/roles.js";
import { me } from "../model/session.js";
import { attempt } from "../model/state.js";
import { Component, html } from "../ui/html.js";
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";

const OFFERED = ["👍", "❤️", "😂", "😮", "😢", "🙏"];

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
    const erase = () => confirm(t("deleteSure")) && attempt(() => remove(message._id));
    const complain = () => {
      const reason = prompt(t("reportWhy"));
      if (reason) attempt(async () => { await report(message._id, reason); say(t("reported")); });
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
                onClick=${() => { this.base.hidePopover(); attempt(() => react(message, key)); }}>${key}</button>`)}
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
