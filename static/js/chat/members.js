/** Who is in a chat, and what one may do about it. */
import { addMember, leaveChat, mute, patchChat, removeMember } from "../model/chats.js";
import { titleOf } from "../model/people.js";
import { manages, moderates } from "../model/roles.js";
import { isMember } from "../model/rooms.js";
import { me } from "../model/session.js";
import { attempt, state } from "../model/state.js";
import { Avatar } from "../ui/avatar.js";
import { Dialog } from "../ui/dialog.js";
import { html, useState } from "../ui/html.js";
import { iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { Find } from "./find.js";
import { Bans, ChatRules, MemberActions, SanctionDialog } from "./moderation.js";

// As the server counts, without an end.
const FOREVER = "2100-01-01T00:00:00Z";

export function Members({ chat, onClose }) {
  const [found, setFound] = useState(null);
  const group = chat.type !== "direct";
  const [sanction, setSanction] = useState(null);
  const manager = manages(chat);
  const strangers = (found ?? []).filter((user) => !chat.members.some((each) => each.userId === user.id));
  const change = (event) => {
    event.preventDefault();
    attempt(() => patchChat(chat._id, { name: new FormData(event.target).get("name") }));
  };
  const leave = () => confirm(t("leaveSure")) && attempt(async () => {
    await leaveChat(chat._id);
    location.hash = "#/chats";
  });
  return html`
    <${Dialog} title=${titleOf(chat)} onClose=${onClose}>
      ${manager && html`
        <form class="inline" onSubmit=${change}>
          <input name="name" defaultValue=${chat.name} maxlength="255" required aria-label=${t("groupName")} /><button>${t("rename")}</button>
        </form>`}
      <h3>${t("members")}</h3>
      <ul class="found">
        ${chat.members.map((each) => html`
          <li class="row" key=${each.userId}>
            <${Avatar} name=${each.name} online=${state.people.get(each.userId)?.online} />
            <bdi class="title">${each.name}</bdi> ${group && html`<span class="hint">${t(each.role)}</span>`}
            ${manager && each.userId !== me() && each.role !== "owner" && iconButton("close", t("remove", { name: each.name }), () => attempt(() => removeMember(chat._id, each.userId)))}
            <${MemberActions} chat=${chat} member=${each} onSanction=${(userId, kind) => setSanction({ userId, kind })} />
          </li>`)}
      </ul>
      ${manager && html`
        <h3>${t("addMembers")}</h3>
        <${Find} onFound=${setFound} />
        <ul class="found">
          ${strangers.map((user) => html`
            <li key=${user.id}><button type="button" class="row" onClick=${() => attempt(() => addMember(chat._id, user.id))}>
              <${Avatar} name=${user.name} /><bdi>${user.name}</bdi></button></li>`)}
        </ul>`}
      ${moderates(chat) && html`<${Bans} chat=${chat} />`}
      ${manager && html`<${ChatRules} chat=${chat} />`}
      ${sanction && html`<${SanctionDialog} chat=${chat} ...${sanction} onClose=${() => setSanction(null)} />`}
      ${(!group || isMember(chat)) && html`<p class="inline">
        <button type="button" onClick=${() => attempt(() => mute(chat._id, chat.mutedUntil ? null : FOREVER))}>${t(chat.mutedUntil ? "unmute" : "mute")}</button>
        ${group && html`<button type="button" onClick=${leave}>${t("leave")}</button>`}
      </p>`}
    <//>`;
}
