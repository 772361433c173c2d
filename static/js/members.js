/** Who is in a chat, and what one may do about it. */
import { Find } from "./chats.js";
import { Bans, ChatRules, manages, MemberActions, moderates, SanctionDialog } from "./moderation.js";
import { isMember } from "./room.js";
import { addMember, leaveChat, me, mute, removeMember, rename, state, titleOf, trying } from "./store.js";
import { t } from "./texts.js";
import { Avatar, Dialog, html, iconButton, useState } from "./view.js";

export function Members({ chat, onClose }) {
  const [found, setFound] = useState(null);
  const group = chat.type !== "direct";
  const [sanction, setSanction] = useState(null);
  const manager = manages(chat);
  const strangers = (found ?? []).filter((user) => !chat.members.some((each) => each.userId === user.id));
  const change = (event) => {
    event.preventDefault();
    trying(() => rename(chat._id, new FormData(event.target).get("name")));
  };
  const leave = () => confirm(t("leaveSure")) && trying(async () => {
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
            ${manager && each.userId !== me() && each.role !== "owner" && iconButton("close", t("remove", { name: each.name }), () => trying(() => removeMember(chat._id, each.userId)))}
            <${MemberActions} chat=${chat} member=${each} onSanction=${(userId, kind) => setSanction({ userId, kind })} />
          </li>`)}
      </ul>
      ${manager && html`
        <h3>${t("addMembers")}</h3>
        <${Find} onFound=${setFound} />
        <ul class="found">
          ${strangers.map((user) => html`
            <li key=${user.id}><button type="button" class="row" onClick=${() => trying(() => addMember(chat._id, user.id))}>
              <${Avatar} name=${user.name} /><bdi>${user.name}</bdi></button></li>`)}
        </ul>`}
      ${moderates(chat) && html`<${Bans} chat=${chat} />`}
      ${manager && html`<${ChatRules} chat=${chat} />`}
      ${sanction && html`<${SanctionDialog} chat=${chat} ...${sanction} onClose=${() => setSanction(null)} />`}
      ${(!group || isMember(chat)) && html`<p class="inline">
        <button type="button" onClick=${() => trying(() => mute(chat._id, !chat.mutedUntil))}>${t(chat.mutedUntil ? "unmute" : "mute")}</button>
        ${group && html`<button type="button" onClick=${leave}>${t("leave")}</button>`}
      </p>`}
    <//>`;
}
