/** A chat's details: its members, its settings, and the ways out of it. */
import { addMember, deleteChat, leaveChat, mute, patchChat, removeMember } from "../model/chats.js";
import { otherOf, titleOf } from "../model/people.js";
import { manages, moderates, roleIn } from "../model/roles.js";
import { isMember } from "../model/rooms.js";
import { me } from "../model/session.js";
import { attempt, state } from "../model/state.js";
import { ask } from "../ui/ask.js";
import { Dialog } from "../ui/dialog.js";
import { Durations, endAfter } from "../ui/durations.js";
import { moment } from "../ui/formats.js";
import { html, useState } from "../ui/html.js";
import { iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { Avatar } from "./avatar.js";
import { Find } from "./find.js";
import { InviteLink } from "./invite.js";
import { Bans, ChatRules, MemberActions, SanctionDialog } from "./moderation.js";
import { Profile } from "./profile.js";

// A mute without an end, as the server knows it.
const FOREVER = "2100-01-01T00:00:00Z";

export function Members({ chat, onClose }) {
  const other = otherOf(chat);
  if (other) return html`<${Profile} userId=${other.userId} name=${titleOf(chat)} onClose=${onClose}><${Ways} chat=${chat} /><//>`;
  return html`<${Group} chat=${chat} onClose=${onClose} />`;
}

function Group({ chat, onClose }) {
  const [found, setFound] = useState(null);
  const [sanction, setSanction] = useState(null);
  const [profile, setProfile] = useState(null);
  const manager = manages(chat);
  const strangers = (found ?? []).filter((user) => !chat.members.some((each) => each.userId === user.id));
  const rename = (event) => {
    event.preventDefault();
    attempt(() => patchChat(chat._id, { name: new FormData(event.target).get("name") }));
  };
  const remove = async (member) => {
    const { name } = member;
    if (await ask({ title: t("removeSure", { name }), action: t("remove", { name }), danger: true })) attempt(() => removeMember(chat._id, member.userId));
  };
  return html`
    <${Dialog} title=${titleOf(chat)} onClose=${onClose}>
      ${manager && html`
        <form class="inline" onSubmit=${rename}>
          <input name="name" defaultValue=${chat.name} maxlength="255" required aria-label=${t("groupName")} /><button class="quiet">${t("rename")}</button>
        </form>`}
      <h3>${t("memberCount", { count: chat.memberCount })}</h3>
      <ul class="found">
        ${chat.members.map((each) => html`
          <li class="row" key=${each.userId}>
            <${Avatar} id=${each.userId} name=${each.name} url=${state.people.get(each.userId)?.avatarUrl} online=${state.people.get(each.userId)?.online} />
            <span class="about">
              <button type="button" class="title name" onClick=${() => setProfile(each)}><bdi>${each.name}</bdi></button>
              <span class="hint">${t(each.role)}</span>
            </span>
            <${MemberActions} chat=${chat} member=${each} onSanction=${(userId, kind) => setSanction({ userId, kind })} />
            ${manager && each.userId !== me() && each.role !== "owner" && iconButton("user-minus", t("remove", { name: each.name }), () => remove(each))}
          </li>`)}
      </ul>
      ${manager && html`
        <h3>${t("addMembers")}</h3>
        <${Find} onFound=${setFound} />
        <ul class="found">
          ${strangers.map((user) => html`
            <li key=${user.id}><button type="button" class="row" onClick=${() => attempt(() => addMember(chat._id, user.id))}>
              <${Avatar} id=${user.id} name=${user.name} url=${user.avatarUrl} /><bdi>${user.name}</bdi></button></li>`)}
        </ul>`}
      ${manager && chat.type === "group" && html`<${InviteLink} chat=${chat} />`}
      ${moderates(chat) && html`<${Bans} chat=${chat} />`}
      ${manager && html`<${ChatRules} chat=${chat} />`}
      ${sanction && html`<${SanctionDialog} chat=${chat} ...${sanction} onClose=${() => setSanction(null)} />`}
      ${profile && html`<${Profile} userId=${profile.userId} name=${profile.name} onClose=${() => setProfile(null)} />`}
      ${isMember(chat) && html`<${Ways} chat=${chat} />`}
    <//>`;
}

/** Muting, leaving, deleting. */
function Ways({ chat }) {
  const isGroup = chat.type !== "direct";
  const silence = async () => {
    if (chat.mutedUntil) return attempt(() => mute(chat._id, null));
    const more = html`<label>${t("duration")}<${Durations} name="duration" chosen="forever" /></label>`;
    const answer = await ask({ title: t("mute"), action: t("mute"), more });
    return answer && attempt(() => mute(chat._id, endAfter(answer.duration) ?? FOREVER));
  };
  const leave = async () => {
    if (!(await ask({ title: t("leaveSure"), action: t("leave"), danger: true }))) return;
    attempt(async () => { await leaveChat(chat._id); location.hash = "#/chats"; });
  };
  const erase = async () => {
    if (!(await ask({ title: t("deleteChatSure", { name: titleOf(chat) }), text: t("deleteChatHint"), action: t("deleteChat"), danger: true }))) return;
    attempt(async () => { await deleteChat(chat._id); location.hash = "#/chats"; });
  };
  return html`
    ${chat.mutedUntil && chat.mutedUntil < FOREVER && html`<p class="hint">${t("mutedUntil", { time: moment(chat.mutedUntil) })}</p>`}
    <p class="inline">
      <button type="button" class="quiet" onClick=${silence}>${t(chat.mutedUntil ? "unmute" : "mute")}</button>
      ${isGroup && html`<button type="button" class="danger" onClick=${leave}>${t("leave")}</button>`}
      ${isGroup && roleIn(chat) === "owner" && html`<button type="button" class="danger" onClick=${erase}>${t("deleteChat")}</button>`}
    </p>`;
}
