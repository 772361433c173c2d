/** What is known of a user, and what can be done about them. */
import { block, loadBlocks, unblock } from "../model/blocks.js";
import { chatWith } from "../model/chats.js";
import { nameOf } from "../model/people.js";
import { me } from "../model/session.js";
import { attempt, state } from "../model/state.js";
import { ask } from "../ui/ask.js";
import { Dialog } from "../ui/dialog.js";
import { ago } from "../ui/formats.js";
import { html, useEffect } from "../ui/html.js";
import { icon } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { Avatar } from "./avatar.js";

export function Profile({ userId, name = nameOf(userId), onClose, children }) {
  const facts = state.people.get(userId);
  const isBlocked = state.blocks?.has(userId);
  useEffect(() => { attempt(loadBlocks); }, []);
  const open = () => attempt(async () => { location.hash = `#/chat/${await chatWith(userId)}`; onClose(); });
  const toggle = async () => {
    if (isBlocked) await attempt(() => unblock(userId));
    else if (await ask({ title: t("blockName", { name }), text: t("blockSure"), action: t("block"), danger: true })) await attempt(() => block(userId));
  };
  return html`
    <${Dialog} title=${name} onClose=${onClose}>
      <div class="profile">
        <${Avatar} id=${userId} name=${name} url=${facts?.avatarUrl} size="large" />
        <p class="hint">${facts?.online ? t("online") : facts?.lastSeenAt ? t("lastSeen", { time: ago(facts.lastSeenAt) }) : ""}</p>
        ${userId !== me() && html`
          <p class="inline">
            <button type="button" onClick=${open}>${icon("chats")} ${t("sendMessage")}</button>
            <button type="button" class=${isBlocked ? "quiet" : "danger"} onClick=${toggle}>${t(isBlocked ? "unblock" : "block")}</button>
          </p>`}
        ${isBlocked && html`<p class="hint">${t("blockedHint")}</p>`}
      </div>
      ${children}
    <//>`;
}
